from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.functional.representatives import cell_features, mean_cosine, prototype_similarity, representation

THREE = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])


def image(rows: list[list[float]]) -> Tensor:
    """Features ``[L, voxels]`` from one feature a voxel."""
    return torch.tensor(rows).T


def slow_cells(features: Tensor, region: Tensor, cells: int) -> dict[tuple[int, ...], Tensor]:
    found: dict[tuple[int, ...], list[Tensor]] = {}
    for voxel in region.nonzero().tolist():
        cell = tuple(cells * at // side for at, side in zip(voxel, region.shape, strict=True))
        found.setdefault(cell, []).append(features[:, *voxel])
    return {cell: torch.stack(each).mean(0) for cell, each in sorted(found.items())}


class TestCells:
    def test_take_the_voxels_of_the_region_only(self):
        features = torch.arange(16.0).view(1, 4, 4)
        region = torch.zeros(4, 4, dtype=torch.bool)
        region[0, 1] = region[2, 2] = region[3, 3] = True
        # Two by two cells: one voxel in the first, 10 and 15 in the last, none elsewhere.
        assert cell_features(features, region, 2).tolist() == [[1.0], [12.5]]

    def test_of_one_cell_are_the_mean(self):
        features, region = torch.randn(3, 5, 7), torch.rand(5, 7) < 0.5
        assert_close(cell_features(features, region, 1), features[:, region].mean(1, keepdim=True).T)

    @given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([(9,), (8, 6), (5, 7, 4)]))
    def test_equal_those_found_one_by_one(self, seed, cells, shape):
        random = torch.Generator().manual_seed(seed)
        features, region = torch.randn(3, *shape, generator=random), torch.rand(shape, generator=random) < 0.6
        region[(0,) * len(shape)] = True
        assert_close(
            cell_features(features, region, cells), torch.stack([*slow_cells(features, region, cells).values()])
        )


class TestRepresentation:
    def test_by_hand(self):
        assert_close(representation(THREE), torch.tensor([1.99504, 2.09454, 1.09950]), atol=1e-5, rtol=0)
        assert_close(representation(5 * THREE), representation(THREE))

    @given(st.integers(0, 2**32), st.integers(1, 8))
    def test_is_the_sum_of_all_cosines(self, seed, count):
        features = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
        cosines = F.cosine_similarity(features.unsqueeze(0), features.unsqueeze(1), dim=2)
        assert_close(representation(features), cosines.sum(1), atol=1e-5, rtol=1e-4)


class TestMeanCosine:
    def test_by_hand(self):
        prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        assert mean_cosine(image([[1.0, 0.0]]), prototypes).item() == pytest.approx(0.569036, abs=1e-6)

    @given(st.integers(0, 2**32), st.sampled_from([(4, 3), (3, 2, 4)]))
    def test_is_the_mean_over_the_prototypes(self, seed, shape):
        random = torch.Generator().manual_seed(seed)
        features, prototypes = torch.randn(5, *shape, generator=random), torch.randn(3, 5, generator=random)
        each = [F.cosine_similarity(features, q.view(-1, *[1] * len(shape)), dim=0) for q in prototypes]
        assert_close(mean_cosine(features, prototypes), torch.stack(each).mean(0), atol=1e-5, rtol=1e-4)


class TestLikeness:
    INSIDE = torch.tensor([True, True, True, False])

    @pytest.mark.parametrize(("threshold", "prototypes"), [(0.7, 2), (0.53, 2), (0.52, 3), (1.0, 1)])
    def test_looks_at_the_representative_cells_only(self, threshold, prototypes):
        # Divided by the largest, the representations are 0.95249, 1 and 0.52494.
        features = image([*THREE.tolist(), [1.0, 0.05]])
        chosen = {1: THREE[1:2], 2: THREE[:2], 3: THREE}[prototypes]
        assert_close(prototype_similarity(features, self.INSIDE, 4, threshold), mean_cosine(features, chosen))

    def test_of_one_cell_compares_with_the_mean(self):
        features = image([*THREE.tolist(), [1.0, 0.05]])
        assert_close(
            prototype_similarity(features, self.INSIDE, 1, 0.7), mean_cosine(features, THREE.mean(0, keepdim=True))
        )

    def test_nothing_is_like_an_empty_region(self):
        assert prototype_similarity(torch.randn(3, 4, 5), torch.zeros(4, 5, dtype=torch.bool), 2, 0.7).equal(
            torch.zeros(4, 5)
        )

    def test_without_features_nothing_is_alike(self):
        assert prototype_similarity(torch.zeros(3, 4), self.INSIDE, 4, 0.7).equal(torch.zeros(4))
        opposite = image([[1.0], [-1.0], [0.0], [2.0]])
        assert_close(prototype_similarity(opposite, torch.tensor([True, True, False, False]), 4, 0.7), torch.zeros(4))
