from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from distance_networks import Transparent, transparent_image
from semi_batches import batch_of, random_batch
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import foreground_dice
from segmend.methods import DTC, Step
from segmend.networks import UNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def method(**arguments: Any) -> DTC:
    made = DTC(Transparent(), **arguments)
    Transparent.open(made.distances)
    return made


def written(label: list[int]) -> Batch:
    """One sample with the written logits and distances."""
    return batch_of(transparent_image(), torch.tensor([[label]]), EXPERT)


class TestTerms:
    def test_by_hand(self):
        # The label's signed distances are -1, 0, 1/2, 1.
        terms = method().loss(written([1, 1, 0, 0]), LAST)
        assert terms["consistency"].item() == pytest.approx(0.027217, abs=1e-6)
        squares = (-0.002 + 1) ** 2 + 0.0005**2 + 0.5**2 + (0.001 - 1) ** 2
        assert terms["distance"].item() == pytest.approx(0.3 * squares / 4, abs=1e-6)
        p, q = [1 / (1 + math.exp(-z)) for z in (2, 0)], [1 / (1 + math.exp(-z)) for z in (-1, -3)]
        dice = 1 - (2 * sum(p) + 1e-5) / (sum(each**2 for each in p + q) + 2 + 1e-5)
        assert terms["expert"].item() == pytest.approx(dice, abs=1e-6)

    def test_neither_side_of_the_agreement_is_detached(self):
        image = transparent_image().requires_grad_()
        given = batch_of(image, torch.full((1, 1, 4), IGNORE), NONE)
        method().loss(given, LAST)["consistency"].backward()
        by_distance = image.grad[0, 0, 0] / (1 - image.detach()[0, 0, 0].tanh() ** 2)
        expected = torch.tensor([-2.431985, -29.281606, -43.323483, -15.101039])
        assert_close(by_distance, expected, atol=1e-4, rtol=1e-4)
        assert image.grad[0, 2, 0].all()

    def test_the_agreement_is_that_of_all_samples(self):
        one, other = random_batch(EXPERT, channels=3), random_batch(EXPERT, NOISY, NONE, channels=3)
        made = method(steepness=2.0)
        parts = [
            made.loss(batch_of(other.image[[row]], other.label[[row]], NONE), LAST)["consistency"] for row in range(3)
        ]
        assert_close(made.loss(other, LAST)["consistency"], sum(parts) / 3)
        assert set(made.loss(one, LAST)) == {"expert", "distance", "consistency"}

    def test_labels_are_those_of_experts(self):
        mixed, made = random_batch(NONE, EXPERT, NOISY, EXPERT, channels=3), method()
        experts = batch_of(mixed.image[[1, 3]], mixed.label[[1, 3]], EXPERT, EXPERT)
        terms, of_experts = made.loss(mixed, LAST), made.loss(experts, LAST)
        assert_close(terms["distance"], of_experts["distance"])
        assert_close(terms["expert"], foreground_dice(mixed.image[[1, 3], 1:], mixed.label[[1, 3]]))

    def test_without_experts_only_agreement_remains(self):
        assert set(method().loss(random_batch(NONE, NOISY, channels=3), LAST)) == {"consistency"}

    def test_every_class_has_a_map(self):
        made = DTC(UNet(1, 4, 2, width=2, stages=2))
        mixed = random_batch(EXPERT, NONE, classes=4)
        _, distances = made.distances(mixed.image)
        assert distances.shape == (2, 3, 16, 16)
        torch.stack(list(made.loss(mixed, LAST).values())).sum().backward()
        assert made.distances.head.heads[0].weight.grad.flatten(1).any(1).all()


class TestArguments:
    @pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
    def test_ramp(self, index, ramp):
        mixed, made = random_batch(EXPERT, NONE, channels=3), method(ramp_length=0.8)
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
        assert_close(early["consistency"], ramp * full["consistency"])
        assert_close(early["expert"], full["expert"])
        assert_close(early["distance"], full["distance"])

    def test_weights(self):
        mixed = random_batch(EXPERT, NONE, channels=3)
        one, other = method().loss(mixed, LAST), method(distance=0.6, consistency=0.5).loss(mixed, LAST)
        assert_close(other["distance"], 2 * one["distance"])
        assert_close(other["consistency"], 0.5 * one["consistency"])

    def test_steepness(self):
        # sigmoid(0) = 1/2 whatever the slope; with a slope of 0 it is 1/2 everywhere.
        p = torch.tensor([2.0, 0.0, -1.0, -3.0]).sigmoid()
        flat = method(steepness=0.0).loss(written([1, 1, 0, 0]), LAST)["consistency"]
        assert_close(flat, (p - 0.5).square().mean())


def test_the_classes_predict():
    image = random_batch(NONE, channels=3).image
    assert_close(method().predict(image), image[:, 1:].softmax(1))


def test_takes_expert_and_unlabelled_samples():
    assert DTC.needs == Composition(expert=2, unlabelled=2)
