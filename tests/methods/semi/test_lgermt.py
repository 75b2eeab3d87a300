from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from semi_batches import batch_of, logits_of, random_batch
from torch import Tensor
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import LGERMT, Step
from segmend.methods.components.ema import follow_students
from segmend.networks import UNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
STUDENT, TEACHER = [[0.9, 0.5], [0.1, 0.5]], [[0.8, 0.6], [0.2, 0.4]]


class Paired(ImageAsLogits):
    """The student reads channels 0 and 1, a teacher, which runs without gradient, channels 2 and 3."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image[:, :2] if torch.is_grad_enabled() else image[:, 2:])


def written(*quality: Quality) -> Batch:
    """Samples of two voxels, where student and teacher give the probabilities above."""
    image = torch.cat([logits_of(STUDENT), logits_of(TEACHER)], dim=1).repeat(len(quality), 1, 1)
    return batch_of(image, torch.zeros(len(quality), 2, dtype=torch.long), *quality)


def method(**arguments: Any) -> LGERMT:
    weights = {"consistency": 1.0, "local_structure": 1.0, "global_structure": 1.0, "entropy": 1.0}
    return LGERMT(Paired(), **({"noise": 0.0, "ramp_length": 0.0} | weights | arguments))


def apart(**arguments: Any) -> LGERMT:
    """A student that has moved away from its teacher."""
    torch.manual_seed(0)
    away = LGERMT(UNet(1, 2, 2, width=2, stages=2), **arguments).eval()
    with torch.no_grad():
        for parameter in away.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return away


class TestTerms:
    @pytest.mark.parametrize(
        ("term", "expected"),
        [("consistency", 0.005), ("local", 0.012940), ("global", 0.004528), ("entropy", 0.734498)],
    )
    @pytest.mark.parametrize("count", [1, 3])
    def test_by_hand(self, term, expected, count):
        assert method().loss(written(*[NONE] * count), LAST)[term].item() == pytest.approx(expected, abs=1e-6)

    def test_with_the_papers_weights(self):
        terms = LGERMT(Paired(), noise=0.0).loss(written(NONE, EXPERT), LAST)
        assert terms["consistency"].item() == pytest.approx(0.1 * 0.005, abs=1e-6)
        assert terms["local"].item() == pytest.approx(0.01 * 0.012940, abs=1e-7)
        assert terms["global"].item() == pytest.approx(0.01 * 0.004528, abs=1e-7)
        assert terms["entropy"].item() == pytest.approx(0.01 * 0.734498, abs=1e-7)

    def test_agreement_costs_nothing(self):
        terms = apart(noise=0.0)
        terms.teacher.network.load_state_dict(terms.network.state_dict())
        found = terms.loss(random_batch(EXPERT, NONE), LAST)
        assert found["consistency"].item() == found["global"].item() == 0
        assert found["local"].item() == pytest.approx(0, abs=1e-12)
        assert found["entropy"] > 0

    def test_structure_is_that_of_all_samples_and_entropy_of_those_without_an_expert(self):
        mixed = random_batch(EXPERT, NOISY, NONE)
        other = batch_of(mixed.image, mixed.label, NONE, NONE, EXPERT)
        one, turned = apart(noise=0.0).loss(mixed, LAST), apart(noise=0.0).loss(other, LAST)
        for term in ("consistency", "local", "global"):
            assert_close(one[term], turned[term])
        assert abs(one["entropy"] - turned["entropy"]) > 1e-6
        rows = batch_of(mixed.image[1:], mixed.label[1:], NOISY, NONE)
        assert_close(one["entropy"], apart(noise=0.0).loss(rows, LAST)["entropy"])

    def test_uniform_probabilities_have_an_entropy_of_1(self):
        image = torch.zeros(1, 2, 3, 3)
        given = batch_of(image, torch.zeros(1, 3, 3, dtype=torch.long), NONE)
        made = LGERMT(ImageAsLogits(), entropy=1.0)
        assert made.loss(given, LAST)["entropy"].item() == pytest.approx(1, abs=1e-6)

    def test_blocks_are_compared_one_by_one(self):
        torch.manual_seed(0)
        made = method(block=2, blocks=[4, 4])
        image = torch.randn(2, 4, 8, 8)
        parts = [
            method(block=2, blocks=[1, 1]).loss(
                batch_of(image[..., x : x + 2, y : y + 2], torch.zeros(2, 2, 2).long(), NONE, NONE), LAST
            )["local"]
            for x in range(0, 8, 2)
            for y in range(0, 8, 2)
        ]
        whole = batch_of(image, torch.zeros(2, 8, 8).long(), NONE, NONE)
        assert_close(made.loss(whole, LAST)["local"], sum(parts) / 16)

    def test_pulls_the_student_only(self):
        made = apart()
        torch.stack(list(made.loss(random_batch(EXPERT, NONE), LAST).values())).sum().backward()
        assert any(parameter.grad.any() for parameter in made.network.parameters())
        assert all(parameter.grad is None for parameter in made.teacher.parameters())

    def test_expert_labels_are_learnt(self):
        made, mixed = apart(), random_batch(NONE, EXPERT, NOISY, EXPERT)
        expected = cross_entropy_dice(made.network(mixed.image[[1, 3]]), mixed.label[[1, 3]])
        assert_close(made.loss(mixed, LAST)["expert"], expected)

    @pytest.mark.parametrize(
        ("quality", "absent"), [([EXPERT, EXPERT], {"entropy"}), ([NONE, NOISY], {"expert"}), ([EXPERT, NONE], set())]
    )
    def test_any_may_be_absent(self, quality, absent):
        found = set(apart().loss(random_batch(*quality), LAST))
        assert found == {"expert", "consistency", "local", "global", "entropy"} - absent

    def test_only_the_teacher_sees_noise(self):
        mixed = random_batch(EXPERT, NONE)
        quiet, loud = apart(noise=0.0).loss(mixed, LAST), apart(noise=1.0).loss(mixed, LAST)
        assert_close(quiet["expert"], loud["expert"])
        assert_close(quiet["entropy"], loud["entropy"])
        assert abs(quiet["consistency"] - loud["consistency"]) > 1e-6


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "ramp"),
        [
            ({}, math.exp(-5 * 0.7**2)),
            ({"ramp_length": 0.6}, math.exp(-5 * 0.5**2)),
            ({"ramp_stairs": 4}, math.exp(-5 * 0.75**2)),
            ({"ramp_length": 0.0}, 1.0),
        ],
    )
    def test_ramp(self, arguments, ramp):
        mixed = random_batch(EXPERT, NONE)
        full, early = (apart(noise=0.0, **arguments).loss(mixed, at) for at in (LAST, Step(3, 10)))
        assert_close(early.pop("expert"), full.pop("expert"))
        for term, value in full.items():
            assert_close(early[term], ramp * value)

    def test_decay(self):
        made = method(decay=0.75)
        with torch.no_grad():
            made.network.gain.fill_(5.0)
        follow_students(made, 50)
        assert made.teacher.network.gain.item() == pytest.approx(2)

    def test_takes_expert_and_unlabelled_samples(self):
        assert LGERMT.needs == Composition(expert=2, unlabelled=2)
