from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import DeepCoTraining, Step
from segmend.networks import Network, UNet, VNet

FIRST, LAST = Step(0, 10), Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


class Slopes(Network):
    """Logits are the scalar image times a slope for each class."""

    def __init__(self, in_channels: int = 1, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([-1.0, 2.0]))

    def forward(self, image: Tensor) -> Tensor:
        return image * self.slopes.view(1, 2, *[1] * (image.ndim - 2))


def slopes(**arguments: Any) -> DeepCoTraining:
    """p_1 has the logits (-x, 2 x), p_2 has (x / 2, -x / 2)."""
    method = DeepCoTraining(Slopes(), **({"ramp_length": 0.0, "diversity": 1.0} | arguments))
    with torch.no_grad():
        method.peer.slopes.copy_(torch.tensor([0.5, -0.5]))
    return method


def scalar(quality: Quality) -> Batch:
    """A voxel of .4 labelled as object, and two that set the range 0..1."""
    label = torch.tensor([[1, 1, 1]]) if quality is not NONE else torch.full((1, 3), IGNORE)
    return Batch(torch.tensor([[[0.4, 0.0, 1.0]]]), label, (quality,), ("only",))


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (len(quality), 4, 4), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def gains(first: float = 1.0, second: float = -1.0, **arguments: Any) -> DeepCoTraining:
    """Two networks whose logits are the image times these."""
    method = DeepCoTraining(ImageAsLogits(), **({"ramp_length": 0.0} | arguments))
    with torch.no_grad():
        method.network.gain.fill_(first)
        method.peer.gain.fill_(second)
    return method


def kl(p: Tensor, q: Tensor) -> float:
    return (p * (p / q).log()).sum().item()


class TestDiversity:
    def test_by_hand(self):
        # Against the first network: p_1 = (.231475, .768525), x^1 = .37, p_2(x^1) = (.591459, .408541), KL .268464.
        method, of = slopes(), scalar(EXPERT)
        divergences = method._misled(of, torch.stack([net(of.image).log_softmax(1) for net in method.networks]))
        assert divergences[0, 0, 0].item() == pytest.approx(0.268464, abs=1e-6)
        # Against the second: p_2 = sigmoid(.4), the loss falls with lower x, so x^2 = .43.
        second, on_first = torch.tensor([0.2, -0.2]).softmax(0), torch.tensor([-0.43, 0.86]).softmax(0)
        assert divergences[1, 0, 0].item() == pytest.approx(kl(second, on_first), abs=1e-6)
        assert_close(method.loss(of, LAST)["diversity"], divergences.mean())

    def test_without_a_label_the_prediction_is_the_label(self):
        # Both predict the label that they had: network 1 object at .4. Network 2 predicts background, so x decreases.
        of, method = scalar(NONE), slopes()
        divergences = method._misled(of, torch.stack([net(of.image).log_softmax(1) for net in method.networks]))
        assert divergences[0, 0, 0].item() == pytest.approx(0.268464, abs=1e-6)
        second, on_first = torch.tensor([0.2, -0.2]).softmax(0), torch.tensor([-0.37, 0.74]).softmax(0)
        assert divergences[1, 0, 0].item() == pytest.approx(kl(second, on_first), abs=1e-6)

    def test_noisy_labels_are_not_used(self):
        assert_close(slopes().loss(scalar(NOISY), LAST), slopes().loss(scalar(NONE), LAST))

    def test_expert_and_other_samples_count_the_same_whatever_their_number(self):
        method, mixed = gains(1.0, -2.0, diversity=1.0), batch(EXPERT, NONE, NONE, NONE)
        alone = [
            replace(mixed, image=mixed.image[rows], label=mixed.label[rows], quality=mixed.quality[rows])
            for rows in (slice(1), slice(1, None))
        ]
        expected = sum(method.loss(each, LAST)["diversity"] for each in alone) / 2
        assert_close(method.loss(mixed, LAST)["diversity"], expected)

    def test_trains_each_network_on_the_images_of_the_other_only(self):
        method = slopes()
        of = scalar(EXPERT)
        first_target = method.network(of.image).log_softmax(1).detach()
        method.loss(of, LAST)["diversity"].backward()
        assert method.network.slopes.grad.abs().sum() > 0
        # The gradient of the peer is that of KL(constant p_1 || p_2(x^1)) alone, by finite differences.
        gradient = method.peer.slopes.grad.clone()
        hard = torch.tensor([[[0.37, 0.03, 0.97]]])

        def value(slope: float) -> float:
            q = (hard * torch.tensor([slope, -0.5]).view(1, 2, 1)).log_softmax(1)
            return 0.5 * (first_target.exp() * (first_target - q)).sum(1).mean().item()

        # At 0 and 1 the image is kept in range: 0 cannot decrease.
        hard[0, 0, 1] = 0.0
        assert gradient[0].item() == pytest.approx((value(0.5 + 1e-2) - value(0.5 - 1e-2)) / 2e-2, rel=1e-2)

    def test_weight_0_leaves_it_out(self):
        method = gains(diversity=0.0)
        method.loss(batch(EXPERT, NONE), LAST)
        assert len(method.network.inputs) == 1
        assert "diversity" not in method.loss(batch(EXPERT, NONE), LAST)


class TestAgreement:
    def test_by_hand(self):
        # Probabilities (3/4, 1/4) and (1/4, 3/4): ln 2 - H(1/4).
        image = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)
        of = Batch(image, torch.full((1, 1, 1), IGNORE), (NONE,), ("only",))
        expected = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
        assert_close(gains(agreement=0.5).loss(of, LAST)["agreement"].item(), 0.5 * expected)

    def test_is_of_samples_without_an_expert_label(self):
        assert "agreement" not in gains().loss(batch(EXPERT, EXPERT), LAST)
        mixed = batch(EXPERT, NONE, NOISY)
        alone = replace(mixed, image=mixed.image[1:], label=mixed.label[1:], quality=mixed.quality[1:])
        assert_close(gains().loss(mixed, LAST)["agreement"], gains().loss(alone, LAST)["agreement"])

    def test_trains_both(self):
        method = gains(0.5, -2.0, diversity=0.0)
        method.loss(batch(NONE), LAST)["agreement"].backward()
        assert all(network.gain.grad.abs() > 0 for network in method.networks)


def test_without_both_terms_the_networks_are_trained_independently():
    method, of = gains(0.5, -2.0, agreement=0.0, diversity=0.0), batch(EXPERT, NONE)
    terms = method.loss(of, LAST)
    assert set(terms) == {"expert"}
    terms["expert"].backward()
    for gain, network in zip((0.5, -2.0), method.networks, strict=True):
        alone = torch.tensor(gain, requires_grad=True)
        cross_entropy_dice(alone * of.image[:1], of.label[:1]).backward()
        assert_close(network.gain.grad, alone.grad)


@pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (2, math.exp(-5 * 0.5**2)), (4, 1.0), (10, 1.0)])
def test_both_terms_are_ramped_up(index, ramp):
    of, method = batch(EXPERT, NONE), gains(ramp_length=0.4)
    full, early = method.loss(of, LAST), method.loss(of, Step(index, 10))
    assert_close(early["agreement"], ramp * full["agreement"])
    assert_close(early["diversity"], ramp * full["diversity"])
    assert_close(early["expert"], full["expert"])


def test_generation_leaves_no_gradient_behind():
    torch.manual_seed(0)
    method = DeepCoTraining(UNet(2, 2, 2, width=2, stages=2))
    method.loss(batch(EXPERT, NONE), LAST)
    assert all(parameter.grad is None for parameter in method.parameters())


def test_networks_start_apart():
    torch.manual_seed(0)
    one, other = (network.head.weight for network in DeepCoTraining(VNet(2, 2, 2, width=2)).networks)
    assert not torch.equal(one, other)


def test_takes_expert_and_unlabelled_samples():
    assert DeepCoTraining.needs == Composition(expert=2, unlabelled=2)
