from __future__ import annotations

import copy
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
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.prototypes import backward_loss, forward_loss
from segmend.functional.resampling import upsample
from segmend.methods import CPCL, Step
from segmend.methods.components.ema import follow_students
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network, SegResNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


class Tiny(Network):
    """Two scales of features of any sign, so that they have directions to compare."""

    decoder_scales = ("coarse", "fine")

    def __init__(self, in_channels: int = 1, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.coarse = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.Tanh())
        self.fine = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(6, 6, 3, padding=1), nn.Tanh())
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.fine(self.coarse(self.first(image).tanh())))


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    label = (torch.rand(len(quality), 1, 4, 4, generator=random) > 0.6).float()
    label = upsample(label, (16, 16)).squeeze(1).round().long()
    image = label.unsqueeze(1) + 0.3 * torch.randn(len(quality), 1, 16, 16, generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def method(**arguments: Any) -> CPCL:
    """The teacher predicts both classes, and the student has moved away from it."""
    torch.manual_seed(0)
    network = Tiny()
    with torch.no_grad():
        network.head.bias -= network(batch(EXPERT, EXPERT).image).mean((0, 2, 3))
        made = CPCL(network, **arguments)
        for parameter in made.network.parameters():
            parameter.mul_(1.5)
    return made


def outputs(network: Network, image: Tensor, name: str = "fine") -> tuple[Tensor, Tensor]:
    """Probabilities and upsampled features."""
    with FeatureTaps(network, [name]).recording() as tapped:
        logits = network(image)
    return logits.softmax(1), upsample(tapped[0], image.shape[2:])


class TestCycle:
    @pytest.mark.parametrize("features", [None, "coarse"])
    @pytest.mark.parametrize("side", ["student", "teacher"])
    def test_goes_from_labelled_to_unlabelled_samples_and_back(self, side, features):
        mixed = batch(NONE, EXPERT, NOISY)  # their numbers differ
        made = method(consistency=0.5, backward_weight=3.0, unlabelled_features=side, features=features)
        certainty, labelled = outputs(made.network, mixed.image[[1]], features or "fine")
        target, unlabelled = outputs(made.teacher.network, mixed.image[[0, 2]], features or "fine")
        if side == "student":
            _, unlabelled = outputs(made.network, mixed.image[[0, 2]], features or "fine")
        terms, label = made.loss(mixed, LAST), mixed.label[[1]]
        assert_close(terms["forward"], 0.5 * forward_loss(labelled, label, certainty, unlabelled, target).mean())
        assert_close(terms["backward"], 1.5 * backward_loss(unlabelled, target, labelled, label))
        assert min(terms["forward"].item(), terms["backward"].item()) > 1e-4

    @pytest.mark.parametrize("side", ["student", "teacher"])
    @pytest.mark.parametrize("term", ["forward", "backward"])
    def test_trains_the_student_down_to_its_first_layer(self, term, side):
        made = method(unlabelled_features=side)
        made.loss(batch(EXPERT, EXPERT, NONE, NONE), LAST)[term].backward()
        assert made.network.first.weight.grad.abs().max() > 1e-6
        assert made.network.head.weight.grad is None or not made.network.head.weight.grad.any()
        assert all(parameter.grad is None for parameter in made.teacher.parameters())

    @pytest.mark.parametrize(("side", "reached"), [("student", True), ("teacher", False)])
    @pytest.mark.parametrize("term", ["forward", "backward"])
    def test_reaches_unlabelled_features_if_they_are_the_students(self, term, side, reached):
        mixed = batch(EXPERT, NONE)
        image = mixed.image.requires_grad_()
        method(unlabelled_features=side).loss(mixed, LAST)[term].backward()
        assert image.grad[0].any()
        assert bool(image.grad[1].any()) is reached

    def test_needs_both_kinds_of_samples(self):
        assert set(method().loss(batch(EXPERT, EXPERT), LAST)) == {"expert"}
        assert set(method(stability=True).loss(batch(NONE), LAST)) == {"stable"}


class TestTerms:
    def test_expert_labels_are_learnt(self):
        made, mixed = method(), batch(NONE, EXPERT, NOISY, EXPERT)
        expected = cross_entropy_dice(made.network(mixed.image[[1, 3]]), mixed.label[[1, 3]])
        assert_close(made.loss(mixed, LAST)["expert"], expected)

    def test_labels_of_noisy_samples_are_not_used(self):
        mixed = batch(EXPERT, NOISY)
        flipped = replace(mixed, label=torch.stack([mixed.label[0], 1 - mixed.label[1]]))
        assert_close(method().loss(flipped, LAST), method().loss(mixed, LAST))

    def test_stability_compares_with_the_teachers_logits_for_a_noisy_view(self, monkeypatch):
        monkeypatch.setattr(torch, "randn_like", torch.ones_like)
        made, mixed = method(stability=True, consistency=0.5), batch(EXPERT, NONE)
        with torch.no_grad():
            expected = 0.5 * (made.network(mixed.image) - made.teacher.network(mixed.image + 0.1)).square().mean()
        terms = made.loss(mixed, LAST)
        assert_close(terms.pop("stable"), expected)
        assert_close(terms, method(consistency=0.5).loss(mixed, LAST))

    @pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (3, math.exp(-5 * 0.5**2)), (6, 1), (10, 1)])
    def test_all_but_the_expert_term_are_ramped_up(self, index, ramp, monkeypatch):
        monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
        mixed, made = batch(EXPERT, NONE), method(stability=True)
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
        assert_close(early.pop("expert"), full.pop("expert"))
        assert set(early) == {"forward", "backward", "stable"}
        assert_close(early, {name: ramp * term for name, term in full.items()})


def test_the_teacher_follows():
    made = method(decay=0.75)
    before = copy.deepcopy(made.teacher.network.head.weight)
    follow_students(made, 50)
    assert_close(made.teacher.network.head.weight, 0.75 * before + 0.25 * made.network.head.weight)


def test_a_network_that_names_no_scales_is_refused():
    with raises("missing-value", "network SegResNet", match="decoder features"):
        CPCL(SegResNet(1, 2, 2, init_filters=8))


def test_takes_expert_and_unlabelled_samples():
    assert CPCL.needs == Composition(expert=2, unlabelled=2)
