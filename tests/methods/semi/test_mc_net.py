from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from refusals import raises
from semi_batches import batch_of, logits_of, random_batch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import foreground_dice
from segmend.methods import MCNet, Step
from segmend.networks import Network, ResUNet, VNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
A, B = [[0.8, 0.6], [0.2, 0.4]], [[0.7, 0.3], [0.3, 0.7]]


class Grouped(Network):
    """Each decoder reads its own group of channels as logits, times the gain of its own."""

    encoder_stages = ("encoder",)

    def __init__(self, in_channels: int = 4, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.encoder, self.gain = nn.Identity(), nn.Parameter(torch.ones(()))
        self.classes, self.group = classes, 0

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * self.encoder(image).split(self.classes, dim=1)[self.group]


def method(classes: int = 2, **arguments: Any) -> MCNet:
    made = MCNet(Grouped(classes=classes), **({"ramp_length": 0.0} | arguments))
    for group, branch in enumerate(made.branches, start=1):
        branch.group = group
    return made


def written(*of_decoders: list[list[float]], quality: Quality = NONE) -> Batch:
    """One sample in which each decoder gives these probabilities."""
    image = torch.cat([logits_of(each) for each in of_decoders], dim=1)
    return batch_of(image, torch.zeros(1, image.shape[2], dtype=torch.long), quality)


class TestConsistency:
    def test_by_hand(self):
        # (0.8, 0.6) against sharpened (0.7, 0.3) is 0.199833, the reverse 0.278213.
        terms = method().loss(written(A, B), LAST)
        assert terms["consistency"].item() == pytest.approx(0.478046, abs=1e-6)

    def test_exchanging_the_decoders_changes_nothing(self):
        for count in (2, 3):
            made, parts = method(decoders=count), [A, B, [[0.1, 0.45], [0.9, 0.55]]][:count]
            expected = made.loss(written(*parts, quality=EXPERT), LAST)
            assert_close(made.loss(written(*reversed(parts), quality=EXPERT), LAST), expected)

    def test_of_three_decoders_is_that_of_all_pairs(self):
        parts = [A, B, [[0.1, 0.45], [0.9, 0.55]]]
        pairs = [
            method().loss(written(one, other), LAST)["consistency"]
            for one, other in zip(parts, parts[1:] + parts[:1], strict=True)
        ]
        assert_close(method(decoders=3).loss(written(*parts), LAST)["consistency"], sum(pairs))

    @pytest.mark.parametrize("p", [0.5, 1.0])
    def test_equal_predictions_that_sharpening_keeps_cost_nothing(self, p):
        given = written([[p], [1 - p + 1e-12]], [[p], [1 - p + 1e-12]])
        assert method().loss(given, LAST)["consistency"].item() == pytest.approx(0, abs=1e-9)

    def test_of_three_classes_targets_sum_to_1(self):
        # Sharpened (0.4, 0.35, 0.25) is (0.786058, 0.206793, 0.007149).
        p, target = torch.tensor([0.4, 0.35, 0.25]), torch.tensor([0.786058, 0.206793, 0.007149])
        column = [[each] for each in p.tolist()]
        found = method(classes=3).loss(written(column, column), LAST)["consistency"]
        assert_close(found, 2 * (p - target).square().mean(), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(("detach", "expected"), [(False, 0.125165), (True, 0.126000)])
    def test_gradients_flow_through_targets_unless_they_are_detached(self, detach, expected):
        """By the logit of class 1 of the second decoder, in one voxel."""
        given = written([[0.8], [0.2]], [[0.7], [0.3]])
        image = given.image.requires_grad_()
        method(detach_target=detach).loss(given, LAST)["consistency"].backward()
        assert image.grad[0, 3, 0].item() == pytest.approx(expected, abs=2e-6)

    def test_is_that_of_all_samples(self):
        mixed, made = random_batch(EXPERT, NOISY, NONE, channels=4), method()
        parts = [made.loss(batch_of(mixed.image[[row]], mixed.label[[row]], NONE), LAST) for row in range(3)]
        assert_close(made.loss(mixed, LAST)["consistency"], sum(part["consistency"] for part in parts) / 3)


class TestExpert:
    def test_each_decoder_learns_the_labels(self):
        mixed = random_batch(NONE, EXPERT, NOISY, EXPERT, channels=6)
        image, label = mixed.image[[1, 3]], mixed.label[[1, 3]]
        dice = [foreground_dice(each, label, squared=False) for each in image.split(2, dim=1)]
        assert_close(method(decoders=3).loss(mixed, LAST)["expert"], sum(dice) / 2)
        assert_close(method(decoders=2).loss(mixed, LAST)["expert"], (dice[0] + dice[1]) / 2)

    def test_there_may_be_none(self):
        assert set(method().loss(random_batch(NONE, NOISY, channels=4), LAST)) == {"consistency"}


class TestDecoders:
    @pytest.mark.parametrize("count", [2, 3])
    def test_share_the_encoder_and_are_all_trained(self, count):
        torch.manual_seed(0)
        made = MCNet(VNet(1, 2, 2, width=2), decoders=count)
        assert len(made.branches) == count - 1
        terms = made.loss(random_batch(EXPERT, NONE), LAST)
        torch.stack(list(terms.values())).sum().backward()
        assert all(branch.x1 is made.network.x1 for branch in made.branches)
        assert all(branch.x6 is not made.network.x6 for branch in made.branches)
        assert all(parameter.grad is not None for parameter in made.parameters())

    def test_get_the_features_of_one_pass(self):
        made, passes = MCNet(VNet(1, 2, 2, width=2), decoders=3), []
        made.network.x1[0].register_forward_hook(lambda *_: passes.append(1))
        made.loss(random_batch(EXPERT, NONE), LAST)
        assert len(passes) == 1
        assert made.network.x1[1].num_batches_tracked == made.network.x6[1].num_batches_tracked == 1
        assert all(branch.x6[1].num_batches_tracked == 1 for branch in made.branches)

    def test_give_what_they_give_alone(self):
        torch.manual_seed(0)
        made, mixed = MCNet(VNet(1, 2, 2, width=2)).eval(), random_batch(EXPERT, NONE)
        alone = [part(mixed.image[[0]]) for part in (made.network, *made.branches)]
        expected = sum(foreground_dice(each, mixed.label[[0]], squared=False) for each in alone) / 2
        assert_close(made.loss(mixed, LAST)["expert"], expected)

    @pytest.mark.parametrize("count", [1, 4])
    def test_are_two_or_three(self, count):
        with raises("invalid-value", "method.decoders"):
            MCNet(VNet(1, 2, 2, width=2), decoders=count)

    def test_need_an_encoder_that_is_named(self):
        with raises("missing-value", "network ResUNet", match="'shared' argument"):
            MCNet(ResUNet(1, 2, 2, width=2))

    def test_the_first_predicts(self):
        given = written(A, B)
        assert_close(method().predict(given.image)[0], torch.tensor(A))


@pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
def test_ramp(index, ramp):
    mixed, made = random_batch(EXPERT, NONE, channels=4), method(ramp_length=0.8)
    full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
    assert_close(early["consistency"], ramp * full["consistency"])
    assert_close(early["expert"], full["expert"])


def test_takes_expert_and_unlabelled_samples():
    assert MCNet.needs == Composition(expert=2, unlabelled=2)
