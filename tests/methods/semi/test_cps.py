from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import CPS, Step
from segmend.networks import VNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def method(first: float = 1.0, second: float = -1.0, **arguments: Any) -> CPS:
    """Two networks whose logits are the image times these."""
    made = CPS(ImageAsLogits(), **arguments)
    with torch.no_grad():
        made.network.gain.fill_(first)
        made.peer.gain.fill_(second)
    return made


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (len(quality), 4, 4), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def one_voxel(log_odds: float) -> Batch:
    """An unlabelled scan."""
    image = torch.tensor([0.0, log_odds]).view(1, 2, 1, 1)
    return Batch(image, torch.full((1, 1, 1), IGNORE), (NONE,), ("only",))


class TestCrossTerm:
    def test_by_hand(self):
        # Probabilities of the object are 3/4 and 1/4, so each network is taught a class to which it gives 1/4.
        term = method(weight=0.1).loss(one_voxel(math.log(3)), LAST)["cross"]
        assert_close(term.item(), 0.1 * 2 * math.log(4))

    def test_no_gradient_passes_through_the_targets(self):
        made = method(weight=1.0)
        made.loss(one_voxel(math.log(3)), LAST)["cross"].backward()
        assert_close(made.network.gain.grad.item(), 0.75 * math.log(3))
        assert_close(made.peer.gain.grad.item(), -0.75 * math.log(3))

    def test_of_networks_that_are_sure_of_the_same_is_nothing(self):
        made = method(100.0, 100.0, weight=1.0)
        assert made.loss(one_voxel(1.0), LAST)["cross"].item() == pytest.approx(0, abs=1e-6)

    def test_may_include_dice(self):
        mixed, made = batch(EXPERT, NONE), method(0.5, -2.0, weight=1.0, cross_loss="cross_entropy_dice")
        one, other = 0.5 * mixed.image[1:], -2 * mixed.image[1:]
        expected = cross_entropy_dice(one, other.argmax(1)) + cross_entropy_dice(other, one.argmax(1))
        assert_close(made.loss(mixed, LAST)["cross"], expected)

    @pytest.mark.parametrize(("cross_on", "rows"), [("unlabelled", [0, 2]), ("all", [0, 1, 2])])
    def test_is_on_the_samples_that_are_asked_for(self, cross_on, rows):
        mixed = batch(NONE, EXPERT, NOISY)
        alone = replace(mixed, image=mixed.image[rows], label=mixed.label[rows], quality=(NONE,) * len(rows))
        expected = method().loss(alone, LAST)["cross"]
        assert_close(method(cross_on=cross_on).loss(mixed, LAST)["cross"], expected)

    @pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
    def test_is_ramped_up(self, index, ramp):
        mixed, made = batch(EXPERT, NONE), method(ramp_length=0.8)
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
        assert_close(early["cross"], ramp * full["cross"])
        assert_close(early["expert"], full["expert"])

    def test_is_there_at_once_without_a_ramp(self):
        mixed, made = batch(EXPERT, NONE), method(weight=1.5, ramp_length=0.0)
        assert_close(made.loss(mixed, Step(0, 10)), made.loss(mixed, LAST))


class TestTerms:
    def test_expert_labels_are_learnt_by_both(self):
        mixed = batch(NONE, EXPERT, NOISY, EXPERT)
        image, label = mixed.image[[1, 3]], mixed.label[[1, 3]]
        expected = cross_entropy_dice(image, label) + cross_entropy_dice(-image, label)
        assert_close(method().loss(mixed, LAST)["expert"], expected)

    @pytest.mark.parametrize("cross_on", ["unlabelled", "all"])
    def test_do_not_depend_on_which_network_is_the_first(self, cross_on):
        mixed = batch(EXPERT, EXPERT, NONE, NOISY)
        one, other = method(0.5, -2.0, cross_on=cross_on), method(-2.0, 0.5, cross_on=cross_on)
        assert_close(one.loss(mixed, LAST), other.loss(mixed, LAST))

    def test_labels_of_noisy_samples_are_not_used(self):
        mixed = batch(EXPERT, NOISY)
        flipped = replace(mixed, label=torch.stack([mixed.label[0], 1 - mixed.label[1]]))
        assert_close(method().loss(flipped, LAST), method().loss(mixed, LAST))

    def test_there_may_be_experts_only_or_none(self):
        assert set(method().loss(batch(EXPERT, EXPERT), LAST)) == {"expert"}
        assert set(method().loss(batch(NONE), LAST)) == {"cross"}


def test_networks_start_apart():
    torch.manual_seed(0)
    made = CPS(VNet(2, 2, 2, width=2))
    one, other = (network.head.weight for network in (made.network, made.peer))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("prediction", "expected"), [("first", 0.75), ("second", 0.25), ("mean", 0.5)])
def test_prediction(prediction, expected):
    image = one_voxel(math.log(3)).image
    assert_close(method(prediction=prediction).predict(image)[0, 1].item(), expected)


def test_takes_expert_and_unlabelled_samples():
    assert CPS.needs == Composition(expert=2, unlabelled=2)
