from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.functional.upsampling import upsample, upsample_transposed

GRIDS = st.integers(1, 3).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(1, 6), min_size=n, max_size=n) for _ in range(2)])
)


def test_interpolates_between_the_centres_of_voxels():
    assert upsample(torch.tensor([[[0.0, 4.0]]]), [4]).tolist() == [[[0, 1, 3, 4]]]


def test_axes_are_interpolated_one_after_the_other():
    maps = torch.rand(2, 3, 2, 3, 2)
    step_by_step = upsample(upsample(maps, (4, 3, 2)), (4, 6, 5))
    assert_close(upsample(maps, (4, 6, 5)), step_by_step)


@pytest.mark.parametrize("bring", [upsample, upsample_transposed])
def test_to_its_own_grid_changes_nothing(bring):
    maps = torch.rand(1, 2, 3, 4)
    assert torch.equal(bring(maps, (3, 4)), maps)


def test_the_transpose_by_hand():
    # Each of the four voxels gives its value to the two coarse ones in the shares with which it was made of them.
    fine = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    assert upsample_transposed(fine, [2]).tolist() == [[[1 + 7.5 + 25, 2.5 + 75 + 1000]]]


@given(GRIDS, st.integers(0, 2**32))
def test_upsampling_and_its_transpose_are_adjoint(grids, seed):
    coarse_grid, fine_grid = grids
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2, 3, *coarse_grid, generator=random, dtype=torch.float64)
    fine = torch.randn(2, 3, *fine_grid, generator=random, dtype=torch.float64)
    transposed = upsample_transposed(fine, coarse_grid)
    assert transposed.shape == coarse.shape
    assert_close((upsample(coarse, fine_grid) * fine).sum(), (coarse * transposed).sum())


def test_the_transpose_neither_needs_nor_leaves_a_graph():
    fine = torch.rand(1, 1, 4, 4, requires_grad=True)
    with torch.no_grad():
        without = upsample_transposed(fine, (2, 2))
    assert not without.requires_grad
    assert not upsample_transposed(fine, (2, 2)).requires_grad
    assert_close(without.sum(), fine.sum())
