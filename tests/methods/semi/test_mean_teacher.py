from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import MeanTeacher, Step
from segmend.networks import UNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 8, 8, generator=random)
    label = torch.randint(0, 2, (len(quality), 8, 8), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def method(**arguments: float) -> MeanTeacher:
    """In evaluation mode, so that nothing but the input noise is random."""
    torch.manual_seed(0)
    return MeanTeacher(UNet(1, 2, 2, width=2, stages=2), **arguments).eval()


def apart(**arguments: float) -> MeanTeacher:
    """One whose student has moved away from its teacher."""
    away = method(**arguments)
    with torch.no_grad():
        away.network.decoder.head.weight.add_(torch.tensor([30.0, -30.0]).view(2, 1, 1, 1))
    return away


class TestTerms:
    def test_expert_labels_are_learnt(self):
        semi, mixed = method(), batch(NONE, EXPERT, NOISY, EXPERT)
        expected = cross_entropy_dice(semi.network(mixed.image[[1, 3]]), mixed.label[[1, 3]])
        assert_close(semi.loss(mixed, LAST)["expert"], expected)

    def test_the_others_are_compared_with_the_teacher(self):
        semi, mixed = apart(noise=0.0, consistency=0.5), batch(NONE, EXPERT, NOISY)
        student = semi.network(mixed.image[[0, 2]]).softmax(1)
        teacher = semi.teacher.network(mixed.image[[0, 2]]).softmax(1)
        expected = 0.5 * (student - teacher).square().mean()
        assert expected > 0.01
        assert_close(semi.loss(mixed, LAST)["consistency"], expected)

    def test_student_and_teacher_agree_at_the_start(self):
        assert method(noise=0.0).loss(batch(EXPERT, NONE), LAST)["consistency"].item() == pytest.approx(0, abs=1e-12)

    def test_only_the_teacher_sees_noise(self):
        mixed, semi = batch(EXPERT, NONE), method(noise=1.0)
        assert semi.loss(mixed, LAST)["consistency"].item() > 0
        assert_close(semi.loss(mixed, LAST)["expert"], method(noise=0.0).loss(mixed, LAST)["expert"])

    def test_consistency_pulls_the_student_only(self):
        semi = apart()
        semi.loss(batch(EXPERT, NONE), LAST)["consistency"].backward()
        assert semi.network.decoder.head.weight.grad.any()
        assert all(parameter.grad is None for parameter in semi.teacher.parameters())

    def test_there_may_be_experts_only(self):
        assert set(method().loss(batch(EXPERT, EXPERT), LAST)) == {"expert"}

    def test_labels_of_the_others_are_not_used(self):
        mixed = batch(EXPERT, NOISY, NONE)
        flipped = Batch(mixed.image, mixed.label.clone(), mixed.quality, mixed.cases)
        flipped.label[1:] = 1
        assert_close(apart(noise=0.0).loss(flipped, LAST), apart(noise=0.0).loss(mixed, LAST))


class TestArguments:
    @pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
    def test_ramp(self, index, ramp):
        mixed = batch(EXPERT, NONE)
        full = apart(noise=0.0, ramp_length=0.8).loss(mixed, LAST)
        early = apart(noise=0.0, ramp_length=0.8).loss(mixed, Step(index, 10))
        assert_close(early["consistency"], ramp * full["consistency"])
        assert_close(early["expert"], full["expert"])

    def test_decay(self):
        semi = method(decay=0.75)
        with torch.no_grad():
            semi.teacher.network.decoder.head.weight.fill_(4.0)
            semi.network.decoder.head.weight.fill_(0.0)
        semi.after_step(Step(50, 100))
        assert_close(semi.teacher.network.decoder.head.weight.mean().item(), 3.0)

    def test_the_teacher_follows_by_the_index_of_the_step(self):
        semi = apart()
        semi.after_step(Step(0, 100))
        assert torch.equal(semi.teacher.network.decoder.head.weight, semi.network.decoder.head.weight)

    def test_takes_expert_and_unlabelled_samples(self):
        assert MeanTeacher.needs == Composition(expert=2, unlabelled=2)
