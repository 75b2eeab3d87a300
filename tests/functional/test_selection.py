from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.core.masks import IGNORE
from segmend.functional.selection import small_loss_voxels, smallest, smallest_share


@pytest.mark.parametrize(
    ("losses", "count", "expected"),
    [
        ([0.1, 0.9, 0.2, 0.8], 2, [True, False, True, False]),
        ([0.7, 0.1, 0.6, 0.2], 2, [False, True, False, True]),
        ([1.0, 1.0, 1.0], 2, [True, True, False]),
        ([1.0, 2.0], 0, [False, False]),
        ([1.0, 2.0], 2, [True, True]),
    ],
)
def test_takes_exactly_the_smallest(losses, count, expected):
    assert smallest(torch.tensor(losses), count).tolist() == expected


def test_lets_no_gradient_through():
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not smallest(losses, 1).requires_grad


class TestSmallestShare:
    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 2**16))
    def test_is_the_start_of_the_sorted_losses(self, count, share, seed):
        random = torch.Generator().manual_seed(seed)
        losses, among = torch.rand(count, generator=random), torch.rand(count, generator=random) < 0.7
        chosen = smallest_share(losses, among, share)
        ordered = losses[among].sort().values
        assert not chosen[~among].any()
        assert torch.equal(losses[chosen].sort().values, ordered[: max(round(share * len(ordered)), 1)])

    def test_equal_losses_stand_or_fall_together(self):
        assert smallest_share(torch.tensor([1.0, 2, 1, 3]), torch.ones(4, dtype=torch.bool), 0.25).sum() == 2

    def test_nothing_to_choose_from(self):
        assert not smallest_share(torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.bool), 0.5).any()

    def test_more_voxels_than_a_quantile_can_take(self):
        losses = torch.arange(2**24 + 8, 0, -1, dtype=torch.float32)
        chosen = smallest_share(losses, torch.ones_like(losses, dtype=torch.bool), 0.5)
        assert chosen.sum() == pytest.approx(2**23 + 4, abs=2)
        assert chosen[-1]
        assert not chosen[0]


class TestScopes:
    LOSSES = torch.tensor([[0.1, 0.9, 0.4, 0.3], [0.8, 0.2, 0.7, 0.6]])
    LABEL = torch.tensor([[0, 0, 1, 1], [0, 0, 1, IGNORE]])

    def chosen(self, scope: str, *shares: float) -> list[list[int]]:
        among = self.LABEL != IGNORE
        return small_loss_voxels(self.LOSSES, self.LABEL, shares, scope=scope, among=among).int().tolist()

    def test_all_voxels_compete(self):
        assert self.chosen("pixel", 4 / 7) == [[1, 0, 1, 1], [0, 1, 0, 0]]

    def test_voxels_of_a_class_compete(self):
        assert self.chosen("class", 0.4) == [[1, 0, 0, 1], [0, 1, 0, 0]]
        assert self.chosen("class", 0.25, 1.0) == [[1, 0, 1, 1], [0, 0, 1, 0]]

    def test_samples_compete_by_their_mean(self):
        # 0.425 against (0.8 + 0.2 + 0.7) / 3.
        assert self.chosen("image", 0.5) == [[1, 1, 1, 1], [0, 0, 0, 0]]
        assert self.chosen("image", 1.0) == [[1, 1, 1, 1], [1, 1, 1, 0]]

    def test_a_sample_without_a_voxel_that_counts_does_not_compete(self):
        among = torch.tensor([[False] * 4, [True] * 4, [True] * 4])
        losses = torch.tensor([[0.0] * 4, [1.0] * 4, [2.0] * 4])
        chosen = small_loss_voxels(losses, torch.zeros_like(losses).long(), [0.5], scope="image", among=among)
        assert chosen.any(1).tolist() == [False, True, False]

    @pytest.mark.parametrize("scope", ["pixel", "class", "image"])
    def test_of_nothing_nothing_is_chosen(self, scope):
        nothing = torch.zeros_like(self.LABEL, dtype=torch.bool)
        assert not small_loss_voxels(self.LOSSES, self.LABEL, [0.5], scope=scope, among=nothing).any()
