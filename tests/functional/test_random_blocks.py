from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segmend.functional.random_blocks import random_blocks


def test_of_the_left_atrium_patch_there_are_four_of_245():
    drawn = {place for seed in range(300) for place in random_blocks_of_seed(seed)}
    assert len(random_blocks_of_seed(0)) == 4
    assert len({place[2] for place in random_blocks_of_seed(0)}) == 1
    starts = [{place[axis].start for place in drawn} for axis in range(3)]
    assert starts == [{*range(0, 112, 16)}, {*range(0, 112, 16)}, {*range(0, 80, 16)}]


def random_blocks_of_seed(seed: int) -> list[tuple[slice, ...]]:
    torch.manual_seed(seed)
    return random_blocks((112, 112, 80), 16, (2, 2, 1))


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
    assert random_blocks_of_seed(seed) == random_blocks_of_seed(seed)
