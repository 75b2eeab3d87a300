from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.methods.components.patch_critic import PatchCritic, likeness_loss, taken_for_labels
from segmend.networks import UNet

LOGITS = torch.tensor([[1.5, -1.0, 0.2]])


def critic(dimensions: int = 2) -> PatchCritic:
    torch.manual_seed(0)
    return PatchCritic(UNet(1, 2, dimensions, width=2), 4)


class Written(PatchCritic):
    """Its judgement is the first class's map, times a gain."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor) -> Tensor:
        return self.gain * maps[:, 0]


def test_binary_cross_entropy():
    assert likeness_loss(LOGITS).mean().item() == pytest.approx(0.704271, abs=1e-6)
    assert likeness_loss(-LOGITS).mean().item() == pytest.approx(0.937605, abs=1e-6)


@pytest.mark.parametrize(("threshold", "expected"), [(0.2, [True, True, True]), (0.3, [True, False, True])])
def test_what_is_taken_for_a_label(threshold, expected):
    assert taken_for_labels(LOGITS, threshold).tolist() == [expected]


class TestOwnLoss:
    def test_by_hand(self):
        predicted, labels = torch.stack([LOGITS, LOGITS], 1), torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
        true = (math.log1p(math.exp(-1)) + math.log(2)) / 2  # the last voxel is unknown
        expected = 0.5 * (0.937605 + true)
        assert Written().own_loss(predicted, labels).item() == pytest.approx(expected, abs=1e-6)

    def test_moves_the_critic_alone(self):
        maps = torch.rand(2, 2, 16, 16, requires_grad=True)
        made = critic()
        made.own_loss(maps, torch.ones(1, 2, 16, 16)).backward()
        assert maps.grad is None
        assert all(each.grad.any() for each in made.parameters() if each.ndim > 1)

    def test_learns_to_tell_labels_from_predictions(self):
        random = torch.Generator().manual_seed(0)
        labels = torch.zeros(4, 2, 16, 16).scatter(1, torch.randint(0, 2, (4, 1, 16, 16), generator=random), 1.0)
        predicted = 0.5 + 0.2 * (labels - 0.5)
        made = critic()
        optimiser = torch.optim.Adam(made.parameters(), lr=0.02)
        before = made.own_loss(predicted, labels).item()
        for _ in range(40):
            optimiser.zero_grad()
            made.own_loss(predicted, labels).backward()
            optimiser.step()
        assert made.own_loss(predicted, labels).item() < before - 0.2


class TestJudgement:
    def test_moves_what_is_judged_alone(self):
        maps = torch.rand(2, 2, 16, 16, requires_grad=True)
        made = critic()
        likeness_loss(made.judged(maps)).mean().backward()
        assert maps.grad.any()
        assert all(each.grad is None for each in made.parameters())

    def test_is_the_critics_in_evaluation_mode_which_does_not_change_it(self):
        made, maps = critic(), torch.rand(2, 2, 16, 16)
        before = {name: each.clone() for name, each in made.state_dict().items()}
        found = made.judged(maps)
        assert_close(made.state_dict(), before)
        assert made.training
        assert_close(found, made.eval()(maps))

    @pytest.mark.parametrize(("dimensions", "grid"), [(2, (20, 33)), (3, (8, 16, 5))])
    def test_is_on_the_grid_of_the_segmentation(self, dimensions, grid):
        assert critic(dimensions)(torch.rand(1, 2, *grid)).shape == (1, *grid)
