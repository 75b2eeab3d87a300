"""Representative features of a region, and the voxels similar to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cell_features(features: Tensor, region: Tensor, cells: int) -> Tensor:
    """Mean feature of the region's voxels in each cell of a grid (Dong et al., Eq. 4).

    Args:
        features: ``[L, *spatial]``.
        region: boolean ``[*spatial]``, not empty.
        cells: of the grid along every axis; with fewer voxels than that, each has its own cell.

    Returns:
        ``[M, L]``: a row for each cell that the region reaches, in the order of the grid.
    """
    cell = torch.zeros(region.shape, dtype=torch.long, device=region.device)
    for axis, side in enumerate(region.shape):
        along = torch.arange(side, device=region.device) * cells // side
        cell = cell * cells + along.view(-1, *[1] * (region.ndim - axis - 1))
    place, inside = cell[region], features[:, region].T
    counts = place.bincount(minlength=cells**region.ndim)
    sums = inside.new_zeros(len(counts), len(features)).index_add_(0, place, inside)
    reached = counts > 0
    return sums[reached] / counts[reached].unsqueeze(1)


def representation(features: Tensor) -> Tensor:
    """How well each feature represents all features: the sum of its cosines to each of them, itself included (Eq. 5).

    Args:
        features: ``[M, L]``.

    Returns:
        ``[M]``, at most M.
    """
    units = F.normalize(features, dim=1)
    return units @ units.sum(0)  # the sum of the cosines is one product; no M x M matrix is needed


def mean_cosine(features: Tensor, prototypes: Tensor) -> Tensor:
    """Mean over the prototypes of their cosine to the feature of each voxel (Eq. 6).

    Args:
        features: ``[L, *spatial]``.
        prototypes: ``[M, L]``, at least one.

    Returns:
        ``[*spatial]``, in -1..1.
    """
    mean = F.normalize(prototypes, dim=1).mean(0)
    return torch.einsum("l...,l->...", F.normalize(features, dim=0), mean)


def prototype_similarity(features: Tensor, region: Tensor, cells: int, threshold: float) -> Tensor:
    """How similar each voxel is to the representative cells of a region.

    A cell is representative if its representation is at least ``threshold`` times the highest one.

    Args:
        features: ``[L, *spatial]``.
        region: boolean ``[*spatial]``; no voxel is similar to an empty one.
        cells: of the grid along every axis; with one cell, the mean feature is the only prototype.
        threshold: sigma, 0..1.

    Returns:
        ``[*spatial]``, in -1..1.
    """
    if not region.any():
        return features.new_zeros(region.shape)
    found = cell_features(features, region, cells)
    degree = representation(found)
    return mean_cosine(features, found[degree >= threshold * degree.max()])
