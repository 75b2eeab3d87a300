"""Slabs leave when they are complete, and little is alive before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.inference import slabs
from segmend.inference.slabs import SlabSums
from segmend.inference.windows import WindowGrid

CPU = torch.device("cpu")


def test_slabs_by_hand():
    sums = SlabSums(WindowGrid((7,), (4,), (2,)), "uniform", 1, CPU)  # windows at 0, 2, 3
    seen = []
    for corner, value in (((0,), 1.0), ((2,), 3.0), ((3,), 8.0)):
        seen.append([(slab.where, slab.probabilities[0].tolist()) for slab in sums.complete(corner[0])])
        sums.add(corner, torch.full((1, 4), value))
    assert seen == [[], [((slice(0, 2),), [1, 1])], [((slice(2, 3),), [2])]]
    left = [(slab.where, slab.probabilities[0].tolist()) for slab in sums.complete(7)]
    assert left == [((slice(3, 5),), [4, 5.5]), ((slice(5, 7),), [5.5, 8])]
    assert not sums.alive


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 12), st.data())
def test_fewer_planes_than_patch_and_stride_are_alive(patch, data):
    stride = data.draw(st.integers(1, patch))
    side = data.draw(st.integers(patch, 5 * patch))
    grid = WindowGrid((side,), (patch,), (stride,))
    sums = SlabSums(grid, "gaussian", 3, CPU)
    given_out = 0
    for corner in grid.corners():
        given_out += sum(slab.probabilities.shape[-1] for slab in sums.complete(corner[0]))
        sums.add(corner, torch.ones(3, patch))
        alive = sum(values.shape[-1] for _, values in sums.alive)
        assert patch <= alive < patch + stride
        assert given_out == corner[0]
    assert given_out + sum(slab.probabilities.shape[-1] for slab in sums.complete(side)) == side


def test_half_precision_is_summed_in_single():
    grid = WindowGrid((599,), (300,), (1,))  # the voxel in the middle is in 300 windows
    sums = SlabSums(grid, "uniform", 1, CPU)
    averages = []
    for corner in grid.corners():
        averages += [slab.probabilities for slab in sums.complete(corner[0])]
        sums.add(corner, torch.ones(1, 300, dtype=torch.bfloat16))
    averages += [slab.probabilities for slab in sums.complete(599)]
    assert torch.equal(torch.cat(averages, dim=1), torch.ones(1, 599))  # in bfloat16 the sums would stop at 256


@pytest.mark.parametrize(("free", "reusable", "expected"), [(200, 0, "cuda"), (199, 0, "cpu"), (150, 50, "cuda")])
def test_sums_that_take_over_half_of_a_gpu_are_kept_on_the_cpu(monkeypatch, free, reusable, expected):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 70 + reusable)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 70)
    assert slabs._with_room(100, torch.device("cuda")).type == expected
