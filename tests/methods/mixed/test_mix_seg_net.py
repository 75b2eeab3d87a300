from __future__ import annotations

import math

import pytest
import torch
from paired_networks import paired, scans
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.methods import MixSegNet, Step
from segmend.methods.mixed.mix_seg_net import mixed_dice
from segmend.networks import VNet

MIDDLE = Step(5, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
# Two voxels of one sample; probabilities of the object.
FIRST, SECOND = [[0.4, 0.7]], [[0.8, 0.55]]


def pair(**arguments: object) -> MixSegNet:
    method = paired(MixSegNet, **arguments)
    assert isinstance(method, MixSegNet)
    return method


def batch(*quality: Quality, label: list[int] | None = None) -> Batch:
    """Every sample has the voxels above."""
    image = scans(FIRST, SECOND).repeat(len(quality), 1, 1)
    labels = torch.tensor([[IGNORE, IGNORE] if each is NONE else label or [0, 1] for each in quality])
    return Batch(image, labels, quality, tuple(map(str, range(len(quality)))))


def probabilities(objects: list[list[float]]) -> torch.Tensor:
    p = torch.tensor(objects)
    return torch.stack([1 - p, p], dim=1)


class TestMixedDice:
    def test_by_hand(self):
        # The mixture is (.64, .61) in favour of the object at both voxels: Dice losses .584906 and .541206.
        value = mixed_dice(probabilities(FIRST), probabilities(SECOND), 0.4)
        assert value.item() == pytest.approx((0.584906 + 0.541206) / 2, abs=3e-5)
        assert 0.5 * value.item() == pytest.approx(0.281528, abs=3e-5)

    def test_the_share_decides_the_class(self):
        # With .9 of the first, the first voxel is background (.44) and the second is object (.685).
        first, second = probabilities(FIRST), probabilities(SECOND)
        one = [1 - 2 * 0.6 / (0.6**2 + 0.3**2 + 1), 1 - 2 * 0.7 / (0.4**2 + 0.7**2 + 1)]
        other = [1 - 2 * 0.2 / (0.2**2 + 0.45**2 + 1), 1 - 2 * 0.55 / (0.8**2 + 0.55**2 + 1)]
        assert mixed_dice(first, second, 0.9).item() == pytest.approx(sum(one + other) / 4, abs=1e-5)

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_of_equal_networks_does_not_depend_on_the_share(self, share):
        p = probabilities(FIRST)
        assert_close(mixed_dice(p, p, share), mixed_dice(p, p, 0.5))

    def test_the_whole_share_takes_the_first_prediction(self):
        sure = probabilities([[1.0, 0.0]])
        other = probabilities([[0.0, 1.0]])
        assert mixed_dice(sure, other, 1.0).item() == pytest.approx(0.5, abs=1e-5)  # 0 for the first, 1 for the second

    def test_no_gradient_passes_through_the_target(self):
        first, second = probabilities(FIRST).requires_grad_(), probabilities(SECOND)
        (gradient,) = torch.autograd.grad(mixed_dice(first, second, 0.4), first)
        # d/dp of 1 - 2 sum(p t) / (sum p^2 + sum t^2), a quarter of it: .5 for the networks, .5 for the classes.
        overlap, size = 0.4 + 0.7, 0.4**2 + 0.7**2 + 2
        expected = [-(2 * size - 4 * overlap * p) / size**2 / 4 for p in FIRST[0]]
        assert_close(gradient[0, 1], torch.tensor(expected), atol=1e-5, rtol=1e-4)


class TestTerms:
    def test_noisy_labels_count_by_cross_entropy(self):
        terms = pair(noisy_weight=0.5).loss(batch(NOISY, label=[0, IGNORE]), MIDDLE)
        assert_close(terms["noisy"].item(), -0.5 * (math.log(0.6) + math.log(0.2)))

    def test_each_sample_counts_for_what_it_is(self):
        assert set(pair().loss(batch(EXPERT), MIDDLE)) == {"expert"}
        assert set(pair().loss(batch(NOISY), MIDDLE)) == {"noisy", "agreement"}
        assert set(pair().loss(batch(NONE), MIDDLE)) == {"agreement"}

    def test_agreement_does_not_use_the_labels(self):
        torch.manual_seed(0)
        one = pair().loss(batch(EXPERT, NOISY), MIDDLE)
        torch.manual_seed(0)
        other = pair().loss(batch(EXPERT, NOISY, label=[1, 0]), MIDDLE)
        assert_close(one["agreement"], other["agreement"])
        assert not torch.isclose(one["noisy"], other["noisy"])

    def test_the_mixture_is_drawn_for_every_step(self):
        torch.manual_seed(0)
        values = {round(pair().loss(batch(NONE), MIDDLE)["agreement"].item(), 6) for _ in range(40)}
        assert len(values) == 2  # both networks see the object in the second voxel, one of them in the first

    def test_weights_are_factors(self):
        torch.manual_seed(0)
        once = pair(agreement=1.0, noisy_weight=1.0).loss(batch(NOISY), MIDDLE)
        torch.manual_seed(0)
        less = pair(agreement=0.25, noisy_weight=0.1).loss(batch(NOISY), MIDDLE)
        assert_close(less["agreement"], 0.25 * once["agreement"])
        assert_close(less["noisy"], 0.1 * once["noisy"])


@pytest.mark.parametrize(("prediction", "expected"), [("first", 0.4), ("second", 0.8), ("mean", 0.6)])
def test_prediction(prediction, expected):
    made = pair(prediction=prediction)
    assert_close(made.predict(batch(NONE).image)[0, 1, 0].item(), expected)


def test_networks_start_apart():
    torch.manual_seed(0)
    one, other = (network.head.weight for network in MixSegNet(VNet(2, 2, 2, width=2)).networks)
    assert not torch.equal(one, other)


def test_takes_expert_and_noisy_samples():
    assert MixSegNet.needs == Composition(expert=2, noisy=2)
