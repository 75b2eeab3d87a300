from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from segmend.functional.mutual_information import discrete_mutual_information


def of_samples(values: list[list[float]]) -> Tensor:
    """One distribution a sample, as maps of one voxel."""
    return torch.tensor(values).view(len(values), 1, -1, 1)


def assignment(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(2)


def directly(first: Tensor, second: Tensor, padding: int, *, subtract_minimum: bool) -> float:
    """Voxel by voxel, of one head."""
    a, b = first[:, 0].double().numpy(), second[:, 0].double().numpy()
    sides, joints = a.shape[2:], []
    for shift in product(range(-padding, padding + 1), repeat=len(sides)):
        joint = np.zeros((a.shape[1],) * 2)
        for voxel in np.ndindex(*sides):
            other = tuple(np.add(voxel, shift))
            if all(0 <= place < side for place, side in zip(other, sides, strict=True)):
                joint += a[(slice(None), slice(None), *other)].T @ b[(slice(None), slice(None), *voxel)]
        joints.append(joint)
    smallest = np.min(joints) if subtract_minimum else 0.0
    values = []
    for joint in joints:
        p = (joint - smallest) / (joint - smallest).sum()
        p = (p + p.T) / 2
        independent = np.outer(p.sum(1), p.sum(0))
        held = p > 0
        values.append((p[held] * np.log(p[held] / independent[held])).sum())
    return float(np.mean(values))


class TestOfSamples:
    def test_by_hand(self):
        first = of_samples([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        second = of_samples([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5]])
        assert discrete_mutual_information(first, second).item() == pytest.approx(0.027166, abs=1e-6)

    @pytest.mark.parametrize("clusters", [2, 5])
    def test_of_equal_sure_and_balanced_ones_is_log_k(self, clusters):
        sure = torch.eye(clusters).view(clusters, 1, clusters, 1)
        assert discrete_mutual_information(sure, sure).item() == pytest.approx(math.log(clusters), abs=1e-5)

    def test_of_uniform_ones_is_zero(self):
        uniform = torch.full((4, 1, 3, 2), 1 / 3)
        assert discrete_mutual_information(uniform, uniform).item() == pytest.approx(0, abs=1e-6)

    def test_of_a_single_cluster_is_zero(self):
        collapsed = of_samples([[1.0, 0.0]] * 4)
        assert discrete_mutual_information(collapsed, collapsed).item() == pytest.approx(0, abs=1e-6)


class TestOfMaps:
    # One row of three voxels, two clusters; rows are clusters.
    FIRST = torch.tensor([[0.9, 0.2, 0.6], [0.1, 0.8, 0.4]]).view(1, 1, 2, 3)
    SECOND = torch.tensor([[0.8, 0.3, 0.5], [0.2, 0.7, 0.5]]).view(1, 1, 2, 3)

    def test_by_hand(self):
        value = discrete_mutual_information(self.FIRST, self.SECOND, 1, subtract_minimum=True)
        assert value.item() == pytest.approx(0.197357, abs=1e-6)

    @pytest.mark.parametrize("subtract_minimum", [False, True])
    @pytest.mark.parametrize(("sides", "padding"), [((5,), 2), ((4, 3), 1), ((3, 5), 2), ((3, 2, 4), 1)])
    def test_is_what_voxel_by_voxel_gives(self, sides, padding, subtract_minimum):
        first, second = (assignment(2, 1, 3, *sides, seed=seed) for seed in (0, 1))
        expected = directly(first, second, padding, subtract_minimum=subtract_minimum)
        value = discrete_mutual_information(first, second, padding, subtract_minimum=subtract_minimum)
        assert value.item() == pytest.approx(expected, abs=1e-5)

    def test_heads_are_independent(self):
        first, second = (assignment(2, 3, 4, 5, 5, seed=seed) for seed in (0, 1))
        alone = [discrete_mutual_information(first[:, [i]], second[:, [i]], 1, subtract_minimum=True) for i in range(3)]
        assert_close(discrete_mutual_information(first, second, 1, subtract_minimum=True), torch.cat(alone))

    @pytest.mark.parametrize("subtract_minimum", [False, True])
    def test_gradients_are_finite_and_of_the_assignments(self, subtract_minimum):
        first, second = (assignment(1, 2, 4, 6, 6, seed=seed).requires_grad_() for seed in (0, 1))
        discrete_mutual_information(first, second, 1, subtract_minimum=subtract_minimum).sum().backward()
        for each in (first, second):
            assert each.grad.isfinite().all()
            assert each.grad.any()


@given(seed=st.integers(0, 10_000), clusters=st.integers(2, 5), padding=st.integers(0, 2))
def test_is_symmetric_and_does_not_depend_on_the_names_of_clusters(seed, clusters, padding):
    first, second = assignment(2, 1, clusters, 4, 3, seed=seed), assignment(2, 1, clusters, 4, 3, seed=seed + 1)
    value = discrete_mutual_information(first, second, padding)
    assert 0 <= value.item() + 1e-6 <= math.log(clusters) + 1e-5
    assert_close(discrete_mutual_information(second, first, padding), value, atol=1e-5, rtol=1e-4)
    names = torch.randperm(clusters, generator=torch.Generator().manual_seed(seed))
    assert_close(
        discrete_mutual_information(first[:, :, names], second[:, :, names], padding), value, atol=1e-5, rtol=1e-4
    )


def test_is_in_full_precision_under_autocast():
    first, second = (assignment(2, 1, 3, 8, 8, seed=seed) for seed in (0, 1))
    expected = discrete_mutual_information(first, second, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(discrete_mutual_information(first, second, 1), expected)
