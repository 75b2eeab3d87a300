from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from segmend.functional.copy_paste import paste, random_cuboid, random_cuboids

CPU = torch.device("cpu")


def extents(mask: Tensor) -> list[int]:
    """Sides of the smallest box around a mask ``[*spatial]``."""
    places = mask.nonzero()
    return (places.amax(0) - places.amin(0) + 1).tolist()


class TestPaste:
    def test_by_hand(self):
        values, pasted = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[7, 8, 9], [10, 11, 12]])
        inside = torch.tensor([[True, False, False], [False, True, True]])
        assert paste(values, pasted, inside).tolist() == [[7, 2, 3], [4, 11, 12]]

    def test_one_mask_serves_all_samples(self):
        values, pasted = torch.zeros(2, 3), torch.ones(2, 3)
        assert paste(values, pasted, torch.tensor([[True, False, True]])).tolist() == [[1, 0, 1], [1, 0, 1]]

    @pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
    def test_all_channels_are_pasted(self, shape):
        image, other = torch.randn(2, 3, *shape), torch.randn(2, 3, *shape)
        inside = torch.rand(2, *shape) < 0.5
        result = paste(image, other, inside)
        for row in range(2):
            for channel in range(3):
                expected = torch.where(inside[row], other[row, channel], image[row, channel])
                assert torch.equal(result[row, channel], expected)

    def test_of_equal_samples_changes_nothing(self):
        image = torch.randn(2, 1, 6, 6)
        assert torch.equal(paste(image, image, random_cuboid((6, 6), 2 / 3, CPU)), image)


class TestRandomCuboid:
    def test_has_the_size_of_the_paper(self):
        inside = random_cuboid((112, 112, 80), 2 / 3, CPU)
        assert inside.shape == (1, 112, 112, 80)
        assert extents(inside[0]) == [74, 74, 53]
        assert inside.float().mean().item() == pytest.approx(0.289210, abs=1e-6)

    @given(sides=st.lists(st.integers(1, 9), min_size=2, max_size=3), fraction=st.floats(0.05, 1))
    def test_is_a_full_box_of_at_least_a_voxel_inside_the_image(self, sides, fraction):
        inside = random_cuboid(sides, fraction, CPU)[0]
        expected = [max(int(side * fraction), 1) for side in sides]
        assert extents(inside) == expected
        assert int(inside.sum()) == math.prod(expected)

    def test_lies_anywhere(self):
        torch.manual_seed(0)
        counts = torch.stack([random_cuboid((4, 1), 0.5, CPU)[0] for _ in range(3000)]).float().mean(0)[:, 0]
        # Three places of two voxels each: the outer voxels are covered by one, the inner ones by two.
        assert counts.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1 / 3], abs=0.05)


class TestRandomCuboids:
    @pytest.mark.parametrize("shape", [(60, 60), (30, 40, 20)])
    def test_are_boxes_of_the_volumes_of_cutmix(self, shape):
        torch.manual_seed(0)
        masks = random_cuboids(300, shape, 1.0, CPU)
        assert masks.shape == (300, *shape)
        volumes = masks.flatten(1).float().mean(1)
        assert all(int(mask.sum()) == math.prod(extents(mask)) for mask in masks)
        assert volumes.min() < 0.06
        assert 0.34 < volumes.max() < 0.46
        assert volumes.mean().item() == pytest.approx(0.21, abs=0.03)

    def test_sides_are_not_too_different(self):
        torch.manual_seed(0)
        sides = torch.tensor([extents(mask) for mask in random_cuboids(300, (100, 100), 1.0, CPU)]).float()
        ratios = sides[:, 0] / sides[:, 1]
        assert 0.27 < ratios.min() < 0.4
        assert 2.5 < ratios.max() < 3.7

    @pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
    def test_some_samples_have_none(self, chance):
        torch.manual_seed(0)
        held = random_cuboids(2000, (8, 8), chance, CPU).flatten(1).any(1)
        assert held.float().mean().item() == pytest.approx(chance, abs=0.05)

    def test_differ_from_sample_to_sample(self):
        torch.manual_seed(0)
        first, second = random_cuboids(2, (20, 20), 1.0, CPU)
        assert not torch.equal(first, second)
