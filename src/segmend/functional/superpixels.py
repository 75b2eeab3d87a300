"""Superpixels: small regions of similar voxels, in 3D often called supervoxels, and their mean values.

The regions are found on the CPU, by scikit-image; means and refinement are tensor arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from skimage.segmentation import slic
from torch import Tensor

from segmend.core.masks import IGNORE

MOST = 32_000
"""Superpixels of an image; those of larger images are larger."""


def superpixels(image: Tensor, size: int, compactness: float) -> Tensor:
    """SLIC superpixels (Achanta et al., IEEE TPAMI 2012), by scikit-image.

    Args:
        image: ``[channels, *spatial]`` float on the CPU, 2D or 3D.
        size: voxels of a superpixel, on average; more, if there would be more than ``MOST`` of them.
        compactness: weight of distance relative to intensity, whose range over the image is taken as 1.

    Returns:
        Numbers from 1: ``[*spatial]`` int32. Each superpixel is connected.
    """
    count = min(max(image[0].numel() // size, 1), MOST)
    regions = slic(image.numpy(), count, compactness, channel_axis=0, convert2lab=False, start_label=1)
    return torch.from_numpy(regions).int()


def region_means(maps: Tensor, regions: Tensor) -> Tensor:
    """Replace each voxel's value by the mean over its region, for each sample.

    Args:
        maps: ``[B, C, *spatial]``.
        regions: ``[B, *spatial]`` int64 numbers from 0; each sample has its own.

    Returns:
        ``[B, C, *spatial]`` float32.
    """
    offset = (regions.max() + 1) * torch.arange(len(regions), device=regions.device)
    index = (regions.flatten(1) + offset.unsqueeze(1)).flatten()
    means = _means(maps.float().transpose(0, 1).flatten(1), index)[:, index]
    return means.view(maps.shape[1], len(maps), *maps.shape[2:]).transpose(0, 1)


def region_statistics(maps: Tensor, label: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """The input of ``refined_regions`` for one scan.

    Args:
        maps: ``[C, *spatial]`` probabilities.
        label: ``[*spatial]`` class indices or ``IGNORE``.
        regions: ``[*spatial]`` int64 numbers from 0.

    Returns:
        Mean probability of each class over each region, and voxels of each label in it, each ``[C, R]``. The mean is
        NaN for a number that no region has.
    """
    means, known = _means(maps.flatten(1), regions.flatten()), label != IGNORE
    pairs = label[known].long() * means.shape[1] + regions[known]
    return means, torch.bincount(pairs, minlength=means.numel()).view_as(means)


def refined_regions(means: Tensor, voxels: Tensor, shares: Sequence[float]) -> Tensor:
    """Find new labels for the voxels that fit theirs least, for each region and label.

    Args:
        means: ``[C, R]``, mean probability of each class over each region.
        voxels: ``[C, R]``, voxels of each label in each region.
        shares: at most this fraction of the voxels of a label is changed, 0..1; one for all, or one for each class.

    Returns:
        ``[C, R]``: the label for those voxels of a region that have a certain one. The regions with the lowest
        probabilities of the labelled class come first, and none from a probability of 0.5 on.
    """
    labels = torch.arange(len(means)).unsqueeze(1)
    refined = labels.repeat(1, means.shape[1])
    for cls, share in enumerate(torch.tensor(shares).expand(len(means))):
        order = means[cls].argsort(stable=True)
        within = voxels[cls, order].cumsum(0) <= share * voxels[cls].sum()
        changed = order[within & (means[cls, order] < 0.5)]
        refined[cls, changed] = means[:, changed].masked_fill(labels == cls, -1).argmax(0)
    return refined


def _means(values: Tensor, index: Tensor) -> Tensor:
    """Means over the regions of ``[C, N]`` values, by ``[N]`` numbers: ``[C, R]``."""
    voxels = torch.bincount(index)
    return values.new_zeros(len(values), len(voxels)).index_add_(1, index, values) / voxels
