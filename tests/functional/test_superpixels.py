from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.superpixels import refined_regions, region_means, region_statistics, superpixels


def halves(*shape: int) -> Tensor:
    """An image whose two halves differ, with a little noise."""
    image = 0.05 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    image[:, shape[0] // 2 + 1 :] += 1
    return image


class TestSuperpixels:
    @pytest.mark.parametrize("shape", [(40, 30), (20, 16, 12)])
    def test_follow_the_image_and_are_connected(self, shape):
        regions = superpixels(halves(*shape), 60, 0.1)
        assert regions.shape == shape
        assert regions.min() == 1
        count = int(regions.max())
        assert 0.4 < count / (np.prod(shape) / 60) < 2.1
        first, second = regions[: shape[0] // 2 + 1], regions[shape[0] // 2 + 1 :]
        assert not set(first.unique().tolist()) & set(second.unique().tolist())
        for number in range(1, count + 1):
            assert ndimage.label((regions == number).numpy())[1] == 1

    def test_the_more_compact_the_less_they_follow(self):
        first, second = superpixels(halves(40, 30), 60, 100.0).split([21, 19])
        assert set(first.unique().tolist()) & set(second.unique().tolist())

    def test_size_is_that_of_each(self):
        counts = [int(superpixels(halves(60, 60), size, 1.0).max()) for size in (20, 100)]
        assert 3.5 < counts[0] / counts[1] < 6.5

    def test_of_a_tiny_image_there_is_one(self):
        assert superpixels(halves(3, 3), 100, 0.1).unique().tolist() == [1]

    def test_all_channels_count(self):
        image = torch.cat([torch.zeros(1, 40, 30), halves(40, 30)])
        first, second = superpixels(image, 60, 0.1).split([21, 19])
        assert not set(first.unique().tolist()) & set(second.unique().tolist())


class TestRegionMeans:
    REGIONS = torch.tensor([[0, 0, 2, 2, 2], [1, 0, 0, 0, 1]])
    MAPS = torch.tensor([[[1.0, 2, 3, 4, 8], [0, 0, 1, 0, 0]], [[1.0, 2, 3, 4, 5], [1, 1, 1, 1, 0]]])

    def test_by_hand(self):
        expected = [[[1.5, 1.5, 5, 5, 5], [0, 0, 1 / 3, 1 / 3, 1 / 3]], [[3, 3, 3, 3, 3], [0.5, 1, 1, 1, 0.5]]]
        assert_close(region_means(self.MAPS, self.REGIONS), torch.tensor(expected))

    @pytest.mark.parametrize("shape", [(6, 5), (4, 6, 5)])
    def test_change_neither_the_sum_nor_themselves(self, shape):
        maps, regions = torch.rand(3, 2, *shape), torch.randint(0, 7, (3, *shape))
        means = region_means(maps.bfloat16(), regions)
        assert means.dtype == torch.float32
        assert_close(means.flatten(2).sum(2), maps.bfloat16().float().flatten(2).sum(2))
        assert_close(region_means(means, regions), means)

    def test_of_single_voxels_are_the_voxels(self):
        maps = torch.rand(2, 3, 4, 5)
        assert_close(region_means(maps, torch.arange(20).view(1, 4, 5).expand(2, 4, 5)), maps)


def test_statistics_by_hand():
    maps = torch.tensor([[[0.2, 0.4], [0.6, 0.9]], [[0.8, 0.6], [0.4, 0.1]]])
    label, regions = torch.tensor([[0, 1], [IGNORE, 1]], dtype=torch.uint8), torch.tensor([[0, 0], [1, 1]])
    means, voxels = region_statistics(maps, label, regions)
    assert_close(means, torch.tensor([[0.3, 0.75], [0.7, 0.25]]))
    assert voxels.tolist() == [[1, 0], [1, 1]]


class TestRefinedRegions:
    # The object's probability in five regions, and how many voxels of each label they have.
    MEANS = torch.stack([1 - torch.tensor([0.1, 0.3, 0.6, 0.9, 0.7]), torch.tensor([0.1, 0.3, 0.6, 0.9, 0.7])])
    VOXELS = torch.tensor([[20, 0, 30, 10, 40], [5, 5, 10, 10, 10]])

    @pytest.mark.parametrize(
        ("shares", "background", "object_"),
        [
            ([0.0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
            ([0.2, 0.0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]),  # 20 voxels: 10, but not 40 more
            ([0.5, 0.0], [0, 0, 0, 1, 1], [1, 1, 1, 1, 1]),
            ([1.0, 0.0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]),  # never from 0.5 on
            ([0.0, 0.125], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]),
            ([0.0, 1.0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]),
            ([1.0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]),
        ],
    )
    def test_by_hand(self, shares, background, object_):
        refined = refined_regions(self.MEANS, self.VOXELS, shares)
        # What becomes of a label matters only where there are voxels that have it.
        assert refined[0][self.VOXELS[0] > 0].tolist() == torch.tensor(background)[self.VOXELS[0] > 0].tolist()
        assert refined[1].tolist() == object_

    def test_of_three_classes_the_most_probable_other_one_is_taken(self):
        means = torch.tensor([[0.4, 0.1, 0.2], [0.35, 0.3, 0.1], [0.25, 0.6, 0.7]])
        refined = refined_regions(means, torch.full((3, 3), 10), [1.0])
        assert refined.tolist() == [[1, 2, 2], [0, 2, 2], [0, 2, 2]]

    def test_counts_do_not_overflow(self):
        voxels = torch.full((2, 3), 2**40)
        refined = refined_regions(torch.tensor([[0.9, 0.2, 0.4], [0.1, 0.8, 0.6]]), voxels, [0.34])
        assert refined.tolist() == [[0, 1, 0], [0, 1, 1]]
