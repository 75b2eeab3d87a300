from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import PseudoLabel, Step

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
LAST = Step(10, 10)


def unlabelled_scan(*of_object: float) -> Batch:
    """An unlabelled scan of voxels with these probabilities of the object."""
    p = torch.tensor(of_object)
    image = torch.stack([1 - p, p]).log().unsqueeze(0)
    return Batch(image, torch.full((1, len(p)), IGNORE), (NONE,), ("only",))


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (len(quality), 4, 4), generator=random)
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def method(**arguments) -> PseudoLabel:
    return PseudoLabel(ImageAsLogits(), **arguments)


class TestPseudoTerm:
    def test_by_hand(self):
        expected = 3 * -(math.log(0.75) + math.log(0.9)) / 2
        assert method(weight=3.0).loss(unlabelled_scan(0.75, 0.1), LAST)["pseudo"].item() == pytest.approx(expected)

    def test_no_gradient_passes_through_the_labels(self):
        given = unlabelled_scan(0.75, 0.1)
        image = given.image.requires_grad_()
        (gradient,) = torch.autograd.grad(method().loss(given, LAST)["pseudo"], image)
        assert_close(gradient, torch.tensor([[[0.25, -0.1], [-0.25, 0.1]]]) / 2)

    @pytest.mark.parametrize(
        ("threshold", "kept"), [(0.0, [0.75, 0.9, 0.6]), (0.7, [0.75, 0.9]), (0.85, [0.9]), (1.01, [])]
    )
    def test_is_the_mean_of_what_is_sure(self, threshold, kept):
        expected = sum(-math.log(p) for p in kept) / max(len(kept), 1)
        term = method(threshold=threshold).loss(unlabelled_scan(0.75, 0.1, 0.6), LAST)["pseudo"]
        assert term.item() == pytest.approx(expected)

    @pytest.mark.parametrize(("index", "share"), [(0, 0), (2, 0), (4, 0.5), (6, 1), (9, 1)])
    def test_rises_in_a_straight_line(self, index, share):
        made, given = method(start=0.2, end=0.6), batch(EXPERT, NONE)
        terms, full = made.loss(given, Step(index, 10)), made.loss(given, LAST)
        assert_close(terms["pseudo"], share * full["pseudo"])
        assert_close(terms["expert"], full["expert"])


class TestTerms:
    def test_expert_labels_are_learnt(self):
        given = batch(NONE, EXPERT, NOISY, EXPERT)
        expected = cross_entropy_dice(given.image[[1, 3]], given.label[[1, 3]])
        assert_close(method().loss(given, LAST)["expert"], expected)

    def test_noisy_samples_are_unlabelled(self):
        noisy, none = batch(EXPERT, NOISY), batch(EXPERT, NONE)
        flipped = replace(noisy, label=torch.stack([noisy.label[0], 1 - noisy.label[1]]))
        assert_close(method().loss(noisy, LAST), method().loss(none, LAST))
        assert_close(method().loss(flipped, LAST), method().loss(none, LAST))

    def test_there_may_be_experts_only_or_none(self):
        assert set(method().loss(batch(EXPERT), LAST)) == {"expert"}
        assert set(method().loss(batch(NONE, NOISY), LAST)) == {"pseudo"}


def test_takes_expert_and_unlabelled_samples():
    assert PseudoLabel.needs == Composition(expert=2, unlabelled=2)
