from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from refusals import raises
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import rectified_discrepancy
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.resampling import upsample
from segmend.methods import URPC, Step
from segmend.networks import Network, SegResNet, VNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


class Pyramid(Network):
    """Features of three scales are the pooled image, the logits the image itself."""

    decoder_scales = ("coarse", "middle", "fine")

    def __init__(self, in_channels: int = 2, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.coarse, self.middle, self.fine = nn.AvgPool2d(4), nn.AvgPool2d(2), nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        self.coarse(image)
        self.middle(image)
        return self.fine(image)


def method(**arguments: Any) -> URPC:
    torch.manual_seed(0)
    return URPC(Pyramid(), **arguments)


def scales_of(made: URPC, image: Tensor) -> Tensor:
    """Logits of the finest, the coarsest and the middle scale."""
    pooled = [nn.AvgPool2d(4)(image), nn.AvgPool2d(2)(image)]
    side = [upsample(head(each), image.shape[2:]) for head, each in zip(made.heads.heads, pooled, strict=True)]
    return torch.stack([image, *side])


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 16, 16, generator=random)
    label = torch.randint(0, 2, (len(quality), 16, 16), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


class TestTerms:
    def test_every_scale_learns_the_expert_labels(self):
        made, mixed = method(), batch(NONE, EXPERT, NOISY, EXPERT)
        scales = scales_of(made, mixed.image[[1, 3]])
        expected = sum(cross_entropy_dice(scale, mixed.label[[1, 3]]) for scale in scales) / 3
        assert_close(made.loss(mixed, LAST)["expert"], expected)

    @pytest.mark.parametrize("divergence", ["from_mean", "to_mean"])
    def test_scales_are_to_agree_on_the_others(self, divergence):
        made, mixed = method(consistency=0.5, divergence=divergence), batch(NONE, EXPERT, NOISY)
        expected = 0.5 * rectified_discrepancy(scales_of(made, mixed.image[[0, 2]]), divergence)
        assert_close(made.loss(mixed, LAST)["consistency"], expected)

    def test_the_two_divergences_differ(self):
        mixed = batch(EXPERT, NONE)
        one, other = (method(divergence=each).loss(mixed, LAST)["consistency"] for each in ("from_mean", "to_mean"))
        assert abs(one - other) > 1e-4

    def test_labels_of_noisy_samples_are_not_used(self):
        mixed = batch(EXPERT, NOISY)
        flipped = replace(mixed, label=torch.stack([mixed.label[0], 1 - mixed.label[1]]))
        assert_close(method().loss(flipped, LAST), method().loss(mixed, LAST))

    def test_there_may_be_experts_only_or_none(self):
        assert set(method().loss(batch(EXPERT, EXPERT), LAST)) == {"expert"}
        assert set(method().loss(batch(NONE, NOISY), LAST)) == {"consistency"}

    @pytest.mark.parametrize("term", ["expert", "consistency"])
    def test_heads_and_coarse_features_learn(self, term):
        made, mixed = URPC(VNet(2, 2, 2, width=2)), batch(EXPERT, NONE)
        with torch.no_grad():
            made.network.head.weight.zero_()  # so that only the side heads lead into the network
        made.loss(mixed, LAST)[term].backward()
        assert all(head.weight.grad.any() for head in made.heads.heads)
        assert any(parameter.grad.any() for parameter in made.network.x7.parameters())
        assert not any(parameter.grad.any() for parameter in made.network.x9.parameters())

    @pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
    def test_ramp(self, index, ramp):
        mixed, made = batch(EXPERT, NONE), method(ramp_length=0.8)
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
        assert_close(early["consistency"], ramp * full["consistency"])
        assert_close(early["expert"], full["expert"])


class TestScales:
    def test_named_features_replace_the_networks_own(self):
        made, mixed = method(features=["middle"]), batch(NONE)
        coarse = made.heads.heads[0](nn.AvgPool2d(2)(mixed.image))
        scales = torch.stack([mixed.image, upsample(coarse, (16, 16))])
        assert_close(made.loss(mixed, LAST)["consistency"], 0.1 * rectified_discrepancy(scales))

    def test_a_network_that_names_none_is_refused(self):
        with raises("missing-value", "network SegResNet", match="decoder features"):
            URPC(SegResNet(1, 2, 2, init_filters=8))

    def test_the_finest_prediction_counts(self):
        image = batch(NONE).image
        assert_close(method().predict(image), image.softmax(1))


def test_takes_expert_and_unlabelled_samples():
    assert URPC.needs == Composition(expert=2, unlabelled=2)
