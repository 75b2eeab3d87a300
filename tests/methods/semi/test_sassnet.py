from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from distance_networks import Transparent, transparent_image
from semi_batches import batch_of, random_batch
from torch.testing import assert_close

from segmend.core.batch import Composition
from segmend.core.case import Quality
from segmend.functional.dice import foreground_dice
from segmend.methods import DTC, SASSNet, Step
from segmend.networks import UNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def method(classes: int = 2, **arguments: Any) -> SASSNet:
    """Without dropout in the critic, so that it judges the same twice."""
    torch.manual_seed(0)
    made = SASSNet(UNet(1, classes, 2, width=2, stages=2), **({"critic_width": 4} | arguments))
    made.critic.eval()
    return made


class TestTerms:
    def test_of_expert_labels_are_those_of_dtc(self):
        label = torch.tensor([[[1, 1, 0, 0]]])
        terms = []
        for cls in (SASSNet, DTC):
            made = cls(Transparent(in_channels=3))
            Transparent.open(made.distances)
            terms.append(made.loss(batch_of(transparent_image(), label, EXPERT), LAST))
        assert set(terms[0]) == {"expert", "distance"}
        assert all(torch.equal(terms[0][term], terms[1][term]) for term in terms[0])
        squares = (-0.002 + 1) ** 2 + 0.0005**2 + 0.5**2 + (0.001 - 1) ** 2
        assert terms[0]["distance"].item() == pytest.approx(0.3 * squares / 4, abs=1e-6)

    def test_labels_are_those_of_experts(self):
        made, mixed = method().eval(), random_batch(NONE, EXPERT, NOISY, EXPERT)
        logits, distances = made.distances(mixed.image[[1, 3]])
        terms = made.loss(mixed, LAST)
        assert_close(terms["expert"], foreground_dice(logits, mixed.label[[1, 3]]))
        assert_close(terms["distance"], 0.3 * made.distances.loss(distances, mixed.label[[1, 3]]))

    def test_the_critic_judges_distances_and_images(self):
        made, mixed = method(adversarial=0.5).eval(), random_batch(NONE, EXPERT, NOISY)
        _, distances = made.distances(mixed.image)
        terms, others = made.loss(mixed, LAST), [0, 2]
        assert_close(terms["critic"], made.critic.own_loss(distances, mixed.image, [1]))
        assert_close(terms["adversarial"], 0.5 * made.critic.adversarial_loss(distances[others], mixed.image[others]))

    def test_expert_samples_get_no_adversarial_gradient(self):
        mixed = random_batch(EXPERT, NONE)
        image = mixed.image.requires_grad_()
        method().eval().loss(mixed, LAST)["adversarial"].backward()
        assert not image.grad[0].any()
        assert image.grad[1].any()

    @pytest.mark.parametrize(("term", "critic"), [("adversarial", False), ("critic", True), ("distance", False)])
    def test_each_trains_one_of_the_networks(self, term, critic):
        made = method()
        made.loss(random_batch(EXPERT, NONE), LAST)[term].backward()
        segmenting = [*made.network.parameters(), *made.distances.parameters()]
        assert any(parameter.grad is not None for parameter in made.critic.parameters()) is critic
        assert any(parameter.grad is not None for parameter in segmenting) is not critic

    def test_without_weight_the_network_learns_expert_labels_alone(self):
        mixed = random_batch(EXPERT, NONE)
        with_critic, without = method(adversarial=0.0), method()
        torch.stack(list(with_critic.loss(mixed, LAST).values())).sum().backward()
        terms = without.loss(mixed, LAST)
        (terms["expert"] + terms["distance"]).backward()
        for one, other in zip(with_critic.network.parameters(), without.network.parameters(), strict=True):
            assert_close(one.grad, other.grad)

    @pytest.mark.parametrize(
        ("quality", "terms"),
        [
            ([EXPERT, EXPERT], {"expert", "distance"}),
            ([NONE, NOISY], {"adversarial", "critic"}),
            ([EXPERT, NOISY], {"expert", "distance", "adversarial", "critic"}),
        ],
    )
    def test_any_may_be_absent(self, quality, terms):
        assert set(method().loss(random_batch(*quality), LAST)) == terms

    def test_every_class_has_a_map_that_the_critic_sees(self):
        made = method(classes=4)
        assert made.critic.of_maps.in_channels == 3
        torch.stack(list(made.loss(random_batch(EXPERT, NONE, classes=4), LAST).values())).sum().backward()
        assert made.distances.head.heads[0].weight.grad.flatten(1).any(1).all()


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "index", "ramp"),
        [({}, 0, math.exp(-5)), ({"ramp_length": 0.8}, 4, math.exp(-5 * 0.5**2)), ({}, 10, 1)],
    )
    def test_ramp(self, arguments, index, ramp):
        mixed, made = random_batch(EXPERT, NONE), method(**arguments).eval()
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
        assert_close(early["adversarial"], ramp * full["adversarial"])
        assert all(torch.equal(early[term], full[term]) for term in ("expert", "distance", "critic"))

    def test_the_weight_of_the_public_code_at_step_1500(self):
        mixed, made = random_batch(EXPERT, NONE), method(ramp_stairs=40).eval()
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(1500, 6000))
        assert (0.01 * early["adversarial"] / full["adversarial"]).item() == pytest.approx(0.000601, abs=1e-6)


def test_takes_expert_and_unlabelled_samples():
    assert SASSNet.needs == Composition(expert=2, unlabelled=2)
