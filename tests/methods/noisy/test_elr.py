from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy, early_learning
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods import ELR, Step

LAST = Step(10, 10)


def elr(gain: float = 1.0, **arguments) -> ELR:
    """A student whose logits are the image, and a teacher with those times a gain."""
    method = ELR(ImageAsLogits(), **arguments)
    method.teacher.network.gain.fill_(gain)
    return method


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (len(quality), 4, 4), generator=random)
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def test_by_hand():
    # The student says 0.9 and the teacher, with half the logits, 0.75: 1 - (0.9 * 0.75 + 0.1 * 0.25) = 0.3.
    image = torch.tensor([0.0, math.log(9)]).view(1, 2, 1)
    given = Batch(image, torch.tensor([[0]]), (Quality.NOISY,), ("only",))
    terms = elr(0.5, weight=3.0).loss(given, LAST)
    assert terms["supervised"].item() == pytest.approx(math.log(10))
    assert terms["early"].item() == pytest.approx(3 * math.log(0.3))


def test_the_teacher_remembers_and_gets_no_gradient():
    method, given = elr(-2.0), batch(Quality.NOISY, Quality.EXPERT)
    expected = 3 * early_learning(given.image, (-2 * given.image).softmax(1)).mean()
    terms = method.loss(given, LAST)
    assert_close(terms["early"], expected)
    assert_close(terms["supervised"], cross_entropy(given.image, given.label).mean())
    (terms["early"] + terms["supervised"]).backward()
    assert method.network.gain.grad
    assert method.teacher.network.gain.grad is None


@pytest.mark.parametrize("index", [0, 2, 4, 9])
def test_the_memory_counts_more_and_more(index):
    method, given = elr(ramp_length=0.4), batch(Quality.NOISY)
    terms, full = method.loss(given, Step(index, 10)), method.loss(given, LAST)
    assert_close(terms["early"], sigmoid_ramp(index / 10, 0.4) * full["early"])
    assert_close(terms["supervised"], full["supervised"])


def test_unknown_voxels_and_samples_take_no_part():
    given = batch(Quality.NOISY, Quality.NONE)
    label = given.label.clone()
    label[0, 2:] = IGNORE
    image = given.image.clone().requires_grad_()
    terms = elr(0.5).loss(Batch(image, label, given.quality, given.cases), LAST)
    known = Batch(given.image[:1, :, :2], label[:1, :2], (Quality.NOISY,), ("0",))
    assert_close(terms, elr(0.5).loss(known, LAST))
    (gradient,) = torch.autograd.grad(terms["early"] + terms["supervised"], image)
    assert torch.equal(gradient.any(1), (label != IGNORE) & torch.tensor([True, False]).view(2, 1, 1))
    assert elr().loss(batch(Quality.NONE), LAST) == {}


def test_what_was_learned_early_stays(right_after_training):
    assert right_after_training(ELR, weight=0.0) < 0.8
    assert right_after_training(ELR, ramp_length=0.2) > 0.95
