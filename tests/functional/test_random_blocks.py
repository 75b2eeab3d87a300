from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segmend.functional.random_blocks import random_blocks


def test_of_the_left_atrium_patch_there_are_four_of_245():
    drawn = [starts_of_seed(seed) for seed in range(300)]
    assert all(len(set(starts)) == 4 and len({last for _, _, last in starts}) == 1 for starts in drawn)
    starts = [{place[axis] for places in drawn for place in places} for axis in range(3)]
    assert starts == [{*range(0, 112, 16)}, {*range(0, 112, 16)}, {*range(0, 80, 16)}]


def starts_of_seed(seed: int) -> list[tuple[int, ...]]:
    torch.manual_seed(seed)
    return [tuple(axis.start for axis in place) for place in random_blocks((112, 112, 80), 16, (2, 2, 1))]


def test_all_are_taken_if_there_are_fewer():
    assert random_blocks((20, 12), 16, (2, 2, 1)) == [(slice(0, 16), slice(0, 12))]


def test_of_two_axes_the_third_count_is_unused():
    assert len(random_blocks((64, 64), 16, (2, 2, 1))) == 4


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 12), st.integers(1, 4))
def test_lie_within_the_image_and_do_not_overlap(size, side, count):
    covered = torch.zeros(size)
    for place in random_blocks(size, side, [count] * len(size)):
        block = covered[place]
        assert list(block.shape) == [min(side, length) for length in size]
        block += 1
    assert covered.max() == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_seed_of_torch_decides(seed):
    assert starts_of_seed(seed) == starts_of_seed(seed) != starts_of_seed(seed + 10)
