"""Mutual information of two assignments of the same voxels to clusters (Ji et al., ICCV 2019; Peng et al., MELBA 2021).

An assignment is a distribution over K clusters for each voxel. All is computed in float32, as differences of nearly
equal logarithms need it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

_TINY = 1e-16


def discrete_mutual_information(
    first: Tensor, second: Tensor, padding: int = 0, *, subtract_minimum: bool = False
) -> Tensor:
    r"""I(a; b) = \sum_{jk} P_jk log(P_jk / (P_j P_k)), the mean over all shifts d up to ``padding`` along each axis.

    P is the normalised and symmetrised joint distribution \sum_{n,v} a_n(v + d) b_n(v)^T over samples and voxels; what
    a shift brings in from outside is left out. It is largest, log K, if both agree and all clusters are equally large.

    Args:
        first: a, ``[B, heads, K, *spatial]``, summing to 1 over the K clusters.
        second: b, of the same shape.
        padding: largest shift, below every side.
        subtract_minimum: subtract the smallest entry of all of a head's joint distributions before they are
            normalised, as the public code does for maps; it makes the clusters look more dependent than they are.

    Returns:
        ``[heads]`` in nats, 0..log K. Symmetric in its arguments, and in a renaming of the clusters in both.
    """
    with torch.autocast(first.device.type, enabled=False):
        joints = _joints(first.float(), second.float(), padding)
        if subtract_minimum:
            joints = joints - joints.detach().amin((0, 2, 3), keepdim=True) + _TINY
        joints = joints / joints.sum((2, 3), keepdim=True).clamp(min=_TINY)
        joints = (joints + joints.mT) / 2
        log_marginal = (joints.sum(3) + _TINY).log()
        log_ratio = (joints + _TINY).log() - log_marginal.unsqueeze(2) - log_marginal.unsqueeze(3)
        return (joints * log_ratio).sum((2, 3)).mean(0)


def _joints(first: Tensor, second: Tensor, padding: int) -> Tensor:
    """The sums of all shifts, ``[shifts, heads, K, K]``.

    With empty voxels behind every row, a shift along any axes is one along the flattened array, so that each joint
    distribution is a product of two matrices which need no copies of their own.
    """
    sides = [side + padding for side in first.shape[3:]]
    steps = [math.prod(sides[axis + 1 :]) for axis in range(len(sides))]
    reach = padding * sum(steps)
    moved, fixed = F.pad(_flat(first, padding), (reach, reach)), _flat(second, padding)
    joints = []
    for shift in product(range(-padding, padding + 1), repeat=len(sides)):
        start = reach + sum(own * step for own, step in zip(shift, steps, strict=True))
        joints.append(moved[..., start : start + fixed.shape[2]] @ fixed.mT)
    return torch.stack(joints)


def _flat(assignment: Tensor, padding: int) -> Tensor:
    """``[B, heads, K, *spatial]`` as ``[heads, K, B * voxels]``, with empty voxels behind every row."""
    behind: Sequence[int] = (0, padding) * (assignment.ndim - 3)
    return F.pad(assignment, behind).movedim(0, 2).flatten(2)
