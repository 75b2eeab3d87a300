from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import BCP, Step
from segmend.methods.semi import bcp

FIRST, SECOND = Step(0, 1000), Step(118, 1000)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
INSIDE = torch.zeros(1, 6, 6, dtype=torch.bool)
INSIDE[0, 1:5, 2:6] = True


@pytest.fixture(autouse=True)
def _one_place(monkeypatch):
    """The cuboid is always there."""
    monkeypatch.setattr(bcp, "random_cuboid", lambda shape, fraction, device: INSIDE)


def method(**arguments: Any) -> BCP:
    return BCP(ImageAsLogits(), **({"keep_largest": False} | arguments))


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 6, 6, generator=random)
    label = torch.randint(0, 2, (len(quality), 6, 6), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def joined(outer: Tensor, inner: Tensor) -> Tensor:
    return torch.where(INSIDE, inner, outer)


class TestFirstPhase:
    def test_pastes_expert_samples_into_each_other(self):
        made, of = method(), batch(NONE, EXPERT, NONE, EXPERT)
        (term,) = made.loss(of, FIRST).values()
        one, other = 1, 3
        image = torch.stack([joined(of.image[one], of.image[other]), joined(of.image[other], of.image[one])])
        label = torch.cat([joined(of.label[one], of.label[other]), joined(of.label[other], of.label[one])])
        assert torch.equal(made.network.inputs[0], image)
        assert_close(term, cross_entropy_dice(image, label))

    def test_of_a_single_sample_is_plain_training(self):
        made, of = method(), batch(EXPERT, NONE)
        assert_close(made.loss(of, FIRST)["expert"], cross_entropy_dice(of.image[:1], of.label[:1]))

    @pytest.mark.parametrize(("index", "terms"), [(117, {"expert"}), (118, {"expert", "unlabelled"})])
    def test_ends_with_its_fraction_of_the_run(self, index, terms):
        assert set(method().loss(batch(EXPERT, EXPERT, NONE, NONE), Step(index, 1000))) == terms

    def test_goes_on_without_other_samples(self):
        assert set(method().loss(batch(EXPERT, EXPERT), SECOND)) == {"expert"}


class TestSecondPhase:
    OF = batch(EXPERT, EXPERT, NONE, NONE)

    def test_pastes_both_ways(self):
        made = method()
        made.loss(self.OF, SECOND)
        (one, other, first, second), (seen,) = self.OF.image, made.network.inputs
        assert torch.equal(seen, torch.stack([joined(one, first), joined(second, other)]))

    def test_by_hand(self):
        terms = method(unlabelled_weight=0.5).loss(self.OF, SECOND)
        (one, other, first, second), pseudo = self.OF.image, self.OF.image[2:].argmax(1)
        images = joined(one, first)[None], joined(second, other)[None]
        labels = self.OF.label[:1], self.OF.label[1:2]
        expert = cross_entropy_dice(images[0], labels[0], ~INSIDE) + cross_entropy_dice(images[1], labels[1], INSIDE)
        followed = cross_entropy_dice(images[0], pseudo[:1], INSIDE)
        followed = followed + cross_entropy_dice(images[1], pseudo[1:], ~INSIDE)
        assert_close(terms["expert"], expert)
        assert_close(terms["unlabelled"], 0.5 * followed)

    def test_each_part_counts_the_same_whatever_its_size(self):
        # Logits of 0 are a cross-entropy of ln 2 everywhere, inside a small cuboid or a large one.
        made = method(unlabelled_weight=1.0)
        with torch.no_grad():
            made.network.gain.fill_(0.0)
        zero = replace(self.OF, label=self.OF.label.clamp(max=0))
        terms = made.loss(zero, SECOND)
        assert terms["expert"].item() == pytest.approx(
            2 * cross_entropy_dice(zero.image[:1] * 0, zero.label[:1]).item(), rel=1e-4
        )

    def test_labels_are_used_in_their_part_only(self):
        changed = self.OF.label.clone()
        changed[0][INSIDE[0]] = 1 - changed[0][INSIDE[0]]
        changed[1][~INSIDE[0]] = 1 - changed[1][~INSIDE[0]]
        assert_close(method().loss(replace(self.OF, label=changed), SECOND), method().loss(self.OF, SECOND))

    def test_no_gradient_passes_into_the_pseudo_labels(self):
        made = method()
        made.loss(self.OF, SECOND)["unlabelled"].backward()
        assert made.network.gain.grad.abs() > 0
        assert made.teacher.network.gain.grad is None

    def test_the_teacher_gives_the_pseudo_labels(self):
        made = method()
        with torch.no_grad():
            made.teacher.network.gain.fill_(-1.0)
        assert made._pseudo_labels(self.OF.image).tolist() == self.OF.image.argmin(1).tolist()

    @pytest.mark.parametrize("quality", [(EXPERT, NONE), (EXPERT, NONE, NONE, NONE), (EXPERT, EXPERT, EXPERT, NONE)])
    def test_every_sample_is_used(self, quality):
        made, of = method(), batch(*quality)
        of.image.requires_grad_()
        torch.stack(list(made.loss(of, SECOND).values())).sum().backward()
        assert all(gradient.any() for gradient in of.image.grad)

    def test_labels_of_noisy_samples_are_not_used(self):
        of = batch(EXPERT, EXPERT, NOISY, NOISY)
        flipped = replace(of, label=torch.cat([of.label[:2], 1 - of.label[2:]]))
        assert_close(method().loss(flipped, SECOND), method().loss(of, SECOND))


def test_of_each_predicted_class_the_largest_component_is_kept():
    label = torch.tensor([[0, 1, 1, 0, 1], [2, 0, 0, 0, 0], [2, 0, 2, 0, 0]])
    image = torch.nn.functional.one_hot(label, 3).permute(2, 0, 1).unsqueeze(0).float()
    made = BCP(ImageAsLogits())
    assert made._pseudo_labels(image).tolist() == [[[0, 1, 1, 0, 0], [2, 0, 0, 0, 0], [2, 0, 0, 0, 0]]]
    made.keep_largest = False
    assert made._pseudo_labels(image).tolist() == [label.tolist()]


def test_without_expert_samples_there_is_nothing_to_learn():
    assert method().loss(batch(NONE, NONE), SECOND) == {}


def test_takes_expert_and_unlabelled_samples():
    assert BCP.needs == Composition(expert=2, unlabelled=2)
