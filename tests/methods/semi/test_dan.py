from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from semi_batches import batch_of, random_batch
from torch.testing import assert_close

from segmend.core.batch import Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import DAN, Step
from segmend.networks import UNet

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def method(**arguments: Any) -> DAN:
    """Without dropout in the critic, so that it judges the same twice."""
    torch.manual_seed(0)
    made = DAN(UNet(1, 2, 2, width=2, stages=2), **({"critic_width": 4} | arguments))
    made.critic.eval()
    return made


class TestTerms:
    def test_expert_labels_are_learnt(self):
        made, mixed = method().eval(), random_batch(NONE, EXPERT, NOISY, EXPERT)
        expected = cross_entropy_dice(made.network(mixed.image[[1, 3]]), mixed.label[[1, 3]])
        assert_close(made.loss(mixed, LAST)["expert"], expected)

    def test_the_critic_judges_probabilities_and_images(self):
        made, mixed = method(adversarial=0.5).eval(), random_batch(NONE, EXPERT, NOISY)
        maps = made.network(mixed.image).softmax(1)
        terms = made.loss(mixed, LAST)
        assert_close(terms["critic"], made.critic.own_loss(maps, mixed.image, [1]))
        others = [0, 2]
        assert_close(terms["adversarial"], 0.5 * made.critic.adversarial_loss(maps[others], mixed.image[others]))

    def test_expert_samples_get_no_adversarial_gradient(self):
        mixed = random_batch(EXPERT, NONE)
        image = mixed.image.requires_grad_()
        method().eval().loss(mixed, LAST)["adversarial"].backward()
        assert not image.grad[0].any()
        assert image.grad[1].any()

    @pytest.mark.parametrize(("term", "trains_critic"), [("adversarial", False), ("critic", True), ("expert", False)])
    def test_each_trains_one_of_the_networks(self, term, trains_critic):
        made = method()
        made.loss(random_batch(EXPERT, NONE), LAST)[term].backward()
        moved = [any(p.grad is not None for p in part.parameters()) for part in (made.critic, made.network)]
        assert moved == [trains_critic, not trains_critic]

    def test_without_weight_the_network_learns_expert_labels_alone(self):
        mixed = random_batch(EXPERT, NONE)
        plain, adversarial = method(), method(adversarial=0.0)
        cross_entropy_dice(plain.network(mixed.image)[[0]], mixed.label[[0]]).backward()
        torch.stack(list(adversarial.loss(mixed, LAST).values())).sum().backward()
        for one, other in zip(plain.network.parameters(), adversarial.network.parameters(), strict=True):
            assert_close(one.grad, other.grad)

    @pytest.mark.parametrize(
        ("quality", "terms"),
        [
            ([EXPERT, EXPERT], {"expert"}),
            ([NONE, NOISY], {"adversarial", "critic"}),
            ([EXPERT, NOISY], {"expert", "adversarial", "critic"}),
        ],
    )
    def test_any_may_be_absent(self, quality, terms):
        assert set(method().loss(random_batch(*quality), LAST)) == terms

    def test_labels_of_noisy_samples_are_not_used(self):
        mixed, made = random_batch(EXPERT, NOISY), method().eval()
        flipped = batch_of(mixed.image, torch.stack([mixed.label[0], 1 - mixed.label[1]]), EXPERT, NOISY)
        assert_close(made.loss(flipped, LAST), made.loss(mixed, LAST))


@pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
def test_ramp(index, ramp):
    mixed, made = random_batch(EXPERT, NONE), method(ramp_length=0.8).eval()
    full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
    assert_close(early["adversarial"], ramp * full["adversarial"])
    assert_close(early["expert"], full["expert"])
    assert_close(early["critic"], full["critic"])


def test_the_critic_sees_every_class():
    assert DAN(UNet(1, 4, 2, width=2), critic_width=4).critic.of_maps.in_channels == 4


def test_takes_expert_and_unlabelled_samples():
    assert DAN.needs == Composition(expert=2, unlabelled=2)
