from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.methods.components.critic import Critic
from segmend.networks import UNet

GRIDS = {2: (32, 16), 3: (16, 16, 32)}


def critic(dimensions: int = 2, maps: int = 2, width: int = 4) -> Critic:
    torch.manual_seed(0)
    return Critic(UNet(1, 2, dimensions, width=2), maps, width)


def scans(dimensions: int = 2, maps: int = 2, count: int = 4) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    shape = GRIDS[dimensions]
    return torch.rand(count, maps, *shape, generator=random), torch.randn(count, 1, *shape, generator=random)


class Written(Critic):
    """Judges by two numbers that the map holds, times a gain."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        return self.gain * maps.flatten(1)


WRITTEN = torch.tensor([[0.4, -0.2], [1.0, 0.0], [-0.3, 0.5], [0.0, 0.0]]).view(4, 2, 1, 1)
"""Logits for two labelled scans and two others; class 1 is 'labelled'."""


class TestLosses:
    def test_its_own_by_hand(self):
        assert Written().own_loss(WRITTEN, WRITTEN, [0, 1]).item() == pytest.approx(1.053749, abs=1e-6)

    def test_the_adversarial_one_by_hand(self):
        assert Written().adversarial_loss(WRITTEN[2:], WRITTEN[2:]).item() == pytest.approx(0.532124, abs=1e-6)

    def test_are_ln_2_if_the_critic_cannot_decide(self):
        nothing = torch.zeros_like(WRITTEN)
        assert Written().adversarial_loss(nothing, nothing).item() == pytest.approx(math.log(2))
        assert Written().own_loss(nothing, nothing, [0, 1]).item() == pytest.approx(math.log(2))

    def test_there_may_be_no_labelled_scan(self):
        expected = F.cross_entropy(WRITTEN.flatten(1), torch.zeros(4, dtype=torch.long))
        assert_close(Written().own_loss(WRITTEN, WRITTEN, []), expected)

    def test_the_adversarial_one_is_not_a_reversal(self):
        """Of what the critic minimises on other scans it is neither the negative nor of the same gradient size."""
        maps = WRITTEN[2:].clone().requires_grad_()
        Written().adversarial_loss(maps, maps.detach()).backward()
        reversed_maps = WRITTEN[2:].clone().requires_grad_()
        (-F.cross_entropy(reversed_maps.flatten(1), torch.zeros(2, dtype=torch.long))).backward()
        towards_labelled = maps.grad[:, 1] < 0
        assert towards_labelled.all()
        assert (reversed_maps.grad[:, 1] < 0).all()
        assert not torch.allclose(maps.grad, reversed_maps.grad, atol=0.05)


class TestDirections:
    def test_the_adversarial_loss_moves_the_segmentation_and_not_the_critic(self):
        made, (maps, image) = critic(), scans()
        maps.requires_grad_()
        made.adversarial_loss(maps, image).backward()
        assert maps.grad.flatten(1).any(1).all()
        assert all(parameter.grad is None for parameter in made.parameters())

    def test_its_own_loss_moves_the_critic_and_not_the_segmentation(self):
        made, (maps, image) = critic(), scans()
        maps.requires_grad_()
        made.own_loss(maps, image, [0, 1]).backward()
        assert maps.grad is None
        assert all(parameter.grad.any() for parameter in made.parameters())

    def test_one_backward_of_the_sum_is_both(self):
        (maps, image), made = scans(), critic()
        for module in made.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        summed, alone = copy.deepcopy(made), copy.deepcopy(made)
        together, apart = maps.clone().requires_grad_(), maps.clone().requires_grad_()
        (summed.adversarial_loss(together, image) + summed.own_loss(together, image, [0, 1])).backward()
        alone.adversarial_loss(apart, image).backward()
        alone.own_loss(apart, image, [0, 1]).backward()
        assert_close(together.grad, apart.grad)
        assert_close([each.grad for each in summed.parameters()], [each.grad for each in alone.parameters()])

    def test_the_adversarial_pass_is_in_evaluation_mode_and_leaves_the_critic_as_it_is(self):
        made, (maps, image) = critic(), scans()
        before = copy.deepcopy(made.state_dict())
        one, other = made.adversarial_loss(maps, image), made.adversarial_loss(maps, image)
        assert torch.equal(one, other)  # no dropout
        assert not torch.equal(made.own_loss(maps, image, [0]), made.own_loss(maps, image, [0]))
        fresh = critic()
        fresh.adversarial_loss(maps, image)
        assert_close(fresh.state_dict(), before)
        assert all(module.training for module in made.modules())


class TestNetwork:
    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_gives_two_logits_a_scan(self, dimensions):
        logits = critic(dimensions)(*scans(dimensions))
        assert logits.shape == (4, 2)
        assert logits.dtype == torch.float32

    @pytest.mark.parametrize(("maps", "parameters"), [(1, 11_020_290), (2, 11_024_386)])
    def test_has_the_size_of_the_public_code(self, maps, parameters):
        assert sum(each.numel() for each in critic(3, maps, width=64).parameters()) == parameters

    def test_looks_at_the_image_too(self):
        made, (maps, image) = critic().eval(), scans()
        assert not torch.allclose(made(maps, image), made(maps, image.flip(0)))
        assert not torch.allclose(made(maps, image), made(maps.flip(0), image))

    def test_short_sides_are_padded_with_zeros(self):
        made, (maps, image) = critic().eval(), scans()
        assert_close(
            made(F.pad(maps[..., :5], (0, 11)), F.pad(image[..., :5], (0, 11))), made(maps[..., :5], image[..., :5])
        )

    @pytest.mark.parametrize("rate", [0.1, 0.01])
    def test_learns_without_an_optimiser_of_its_own(self, rate):
        """Maps that are confident against maps that are not, by the gradient descent of the segmenting network."""
        made, (soft, image) = critic(), scans(count=8)
        maps = torch.cat([soft[:4].round(), 0.4 + 0.2 * soft[4:]])
        optimiser = torch.optim.SGD(made.parameters(), lr=rate, momentum=0.9)
        for _ in range(200):
            optimiser.zero_grad()
            made.own_loss(maps, image, range(4)).backward()
            optimiser.step()
        assert made.eval().own_loss(maps, image, range(4)).item() < 0.4

    def test_stays_finite_where_the_rate_is_large(self):
        made, (maps, image) = critic(width=16), scans()
        optimiser = torch.optim.SGD(made.parameters(), lr=1.0, momentum=0.9)
        for _ in range(60):
            optimiser.zero_grad()
            made.own_loss(maps, image, [0, 1]).backward()
            optimiser.step()
        assert made(maps, image).isfinite().all()
