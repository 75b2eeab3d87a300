from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods import UAMT, MeanTeacher, Step
from segmend.networks import Network, UNet, VNet

FIRST, LAST = Step(0, 10), Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


class Transparent(Network):
    """Logits are the image; every second pass adds ``change`` to those of the first class."""

    def __init__(self, change: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.change, self.passes = change, 0

    def forward(self, image: Tensor) -> Tensor:
        self.passes += 1
        logits = image.clone()
        logits[:, 0] += self.change * (self.passes % 2 == 0)
        return self.gain * logits


def scan(*probabilities: list[float]) -> Tensor:
    """The image ``[1, C, voxels]`` of these class probabilities, one list a voxel."""
    return torch.tensor(probabilities).log().T.unsqueeze(0)


def samples(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 8, 8, generator=random)
    label = torch.randint(0, 2, (len(quality), 8, 8), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def apart(cls: type = UAMT, **arguments: Any) -> Any:
    """A method whose student has moved away from its teacher; only the input noise is random."""
    torch.manual_seed(0)
    away = cls(UNet(1, 2, 2, width=2, stages=2), **arguments).eval()
    with torch.no_grad():
        for parameter in away.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return away


class TestSure:
    def sure(self, image: Tensor, step: Step, change: float = 0.0, **arguments: Any) -> list[bool]:
        method = UAMT(Transparent(change), **({"passes": 2, "noise": 0.0} | arguments))
        return method.sure(image, step).squeeze(0).tolist()

    def test_at_first_a_class_may_be_improbable_up_to_0_215(self):
        # (0.75 + 0.25 exp(-5)) ln 2 = 0.5210 nats
        image = scan([0.785, 0.215], [0.783, 0.217], [0.5, 0.5], [0.215, 0.785], [1.0, 1e-9])
        assert self.sure(image, FIRST) == [True, False, False, True, True]

    def test_half_way_the_threshold_is_higher(self):
        # (0.75 + 0.25 * 0.2865) ln 2 = 0.5695 nats, the entropy of (0.7447, 0.2553)
        assert self.sure(scan([0.746, 0.254], [0.743, 0.257]), Step(5, 10)) == [True, False]

    def test_at_the_end_everything_is_sure(self):
        assert self.sure(scan([0.5, 0.5], [0.9, 0.1]), LAST) == [True, True]

    def test_it_begins_at_the_threshold(self):
        # (0.5 + 0.5 exp(-5)) ln 2 = 0.3489 nats, the entropy of (0.8889, 0.1111)
        assert self.sure(scan([0.890, 0.110], [0.887, 0.113]), FIRST, threshold=0.5) == [True, False]

    def test_of_more_classes_the_largest_entropy_is_log_c(self):
        # 0.7517 ln 3 = 0.8258; (0.7, 0.2, 0.1) has 0.8018, (0.65, 0.25, 0.1) has 0.8569, both above 0.7517 ln 2.
        assert self.sure(scan([0.7, 0.2, 0.1], [0.65, 0.25, 0.1]), FIRST) == [True, False]
        assert self.sure(scan([1 / 3] * 3), LAST) == [True]

    def test_passes_that_contradict_each_other_are_not_sure(self):
        image = scan([0.99, 0.01], [0.01, 0.99])
        image[0, 0, 1] += 20.0  # the first class in both passes
        turned = -2 * math.log(99)  # (0.99, 0.01) becomes (0.01, 0.99), with the mean (0.5, 0.5)
        assert self.sure(image, FIRST, change=turned, passes=1) == [True, True]
        assert self.sure(image, FIRST, change=turned) == [False, True]

    def test_asks_the_teacher_as_often_as_told(self):
        method = UAMT(Transparent(), passes=5)
        method.sure(scan([0.5, 0.5]), FIRST)
        assert (method.network.passes, method.teacher.network.passes) == (0, 5)


class TestConsistency:
    def terms(self, student_gain: float, *quality: Quality, step: Step = LAST, **arguments: Any) -> dict[str, Tensor]:
        """Of two samples, each with a sure and an unsure voxel; the teacher sees the probabilities as they are."""
        method = UAMT(Transparent(), **({"passes": 1, "noise": 0.0} | arguments))
        with torch.no_grad():
            method.network.gain.fill_(student_gain)
        image = scan([0.9, 0.1], [0.6, 0.4]).repeat(2, 1, 1)
        label = torch.tensor([[0, 1], [1, 0]])
        return method.loss(Batch(image, label, quality, ("a", "b")), step)

    def test_counts_sure_voxels_only(self):
        # Without gain, the student says (0.5, 0.5): differences 0.4 and, where the teacher is not sure, 0.1.
        weight = 0.1 * math.exp(-5)
        assert self.terms(0.0, NONE, NONE, step=FIRST)["consistency"].item() == pytest.approx(weight * 0.16)
        assert self.terms(0.0, NONE, NONE)["consistency"].item() == pytest.approx(0.1 * (0.16 + 0.01) / 2)

    def test_if_nothing_is_sure_it_is_zero(self):
        nothing = self.terms(0.0, NONE, NONE, step=FIRST, threshold=0.0)["consistency"]
        nothing.backward()
        assert nothing.item() == 0

    def test_of_all_voxels_is_that_of_the_mean_teacher(self):
        mixed = samples(EXPERT, NONE, NOISY)
        ours = apart(noise=0.0, consistency=0.5).loss(mixed, LAST)
        theirs = apart(MeanTeacher, noise=0.0, consistency=0.5).loss(mixed, LAST)
        assert ours["consistency"] > 1e-3
        assert_close(ours, theirs)

    def test_follows_one_more_noisy_pass(self):
        method, seen = UAMT(UNet(1, 2, 2, width=2, stages=2), passes=3, noise=0.5), []
        method.teacher.network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        mixed = samples(EXPERT, NONE)
        method.loss(mixed, LAST)
        assert len(seen) == 4
        for image in seen:
            assert image.shape == mixed.image[1:].shape
            assert not torch.allclose(image, mixed.image[1:])

    def test_pulls_the_student_only(self):
        method = apart()
        method.loss(samples(EXPERT, NONE), LAST)["consistency"].backward()
        assert any(parameter.grad.any() for parameter in method.network.parameters())
        assert all(parameter.grad is None for parameter in method.teacher.parameters())

    def test_labels_are_not_used(self):
        mixed = samples(EXPERT, NOISY, NONE)
        flipped = Batch(mixed.image, mixed.label.clone(), mixed.quality, mixed.cases)
        flipped.label[1:] = 1
        assert_close(apart(noise=0.0).loss(flipped, LAST), apart(noise=0.0).loss(mixed, LAST))


class TestSamples:
    def test_expert_labels_are_learnt(self):
        method, mixed = apart(), samples(NONE, EXPERT, NOISY, EXPERT)
        expected = cross_entropy_dice(method.network(mixed.image[[1, 3]]), mixed.label[[1, 3]])
        assert_close(method.loss(mixed, LAST)["expert"], expected)

    @pytest.mark.parametrize(
        ("quality", "terms"),
        [
            ([EXPERT, EXPERT], {"expert"}),
            ([NONE, NOISY], {"consistency"}),
            ([EXPERT, NOISY], {"expert", "consistency"}),
        ],
    )
    def test_any_may_be_absent(self, quality, terms):
        assert set(apart().loss(samples(*quality), LAST)) == terms

    def test_dropout_makes_the_passes_differ(self):
        torch.manual_seed(0)
        method, image = UAMT(VNet(1, 2, 2, width=4), noise=0.0), torch.randn(2, 1, 32, 32)
        first, second = method.teacher.perturbed_passes(image, 2, 0.0)
        assert not torch.allclose(first, second)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "index"), [({}, 3), ({"ramp_length": 0.6}, 3), ({"ramp_length": 0.6}, 7), ({"ramp_stairs": 4}, 3)]
    )
    def test_ramp(self, arguments, index):
        # With a threshold of 1 the mask does not depend on the step.
        mixed, always = samples(EXPERT, NONE), {"noise": 0.0, "threshold": 1.0}
        full = apart(**always, **arguments).loss(mixed, LAST)
        early = apart(**always, **arguments).loss(mixed, Step(index, 10))
        ramp = sigmoid_ramp(index / 10, arguments.get("ramp_length", 1.0), arguments.get("ramp_stairs", 0))
        assert_close(early["consistency"], ramp * full["consistency"])
        assert_close(early["expert"], full["expert"])

    def test_the_threshold_rises_over_the_whole_run_whatever_the_ramp(self):
        image, steps = scan([0.785, 0.215], [0.75, 0.25], [0.55, 0.45]), [FIRST, Step(5, 10), Step(9, 10)]
        for arguments in ({}, {"ramp_length": 0.1}, {"ramp_stairs": 2}):
            method = UAMT(Transparent(), passes=1, noise=0.0, **arguments)
            assert [method.sure(image, step).sum().item() for step in steps] == [1, 2, 2]

    def test_decay(self):
        method = UAMT(Transparent(), decay=0.75)
        with torch.no_grad():
            method.network.gain.fill_(5.0)
        method.after_step(Step(50, 100))
        assert method.teacher.network.gain.item() == pytest.approx(2)

    def test_takes_expert_and_unlabelled_samples(self):
        assert UAMT.needs == Composition(expert=2, unlabelled=2)
