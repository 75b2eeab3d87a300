"""Histograms of the scores of voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from segmend.functional.confident_learning.joint import known_voxels

_COARSE_SHIFT = 16
_COARSE_BINS = (0x40000000 >> _COARSE_SHIFT) + 1
"""Bins of the scores 0..2 by the upper half of their float32 bits, which is how bfloat16 would round them down."""


@dataclass(frozen=True, slots=True)
class ScoreHistograms:
    """Histograms of the scores of voxels, for the pruning rules; may be filled in pass one or two.

    A voxel labelled k has the score p_k for class k and 1 + p_k - p_j for every other class j. Small scores are
    suspicious. Pruning takes a given number of the smallest; a histogram finds the largest of them without sorting all
    voxels. Its bins are as fine as bfloat16, 0.8 % of a score; the voxels of one bin are pruned or kept together.
    ``narrowed`` makes histograms for one more pass, after which this holds only for voxels of equal score. Each of the
    C x C histograms takes 131 kB of memory, narrowed 524 kB.

    Attributes:
        first: ``[C, C]`` int64, bits of the float32 score at which the bins begin, by given label and class.
        before: ``[C, C]`` int64, voxels with smaller scores than that.
        shift: a bin is 2^shift neighbouring float32 numbers.
        bins: ``[C, C, n]`` int64, voxels.
    """

    first: Tensor
    before: Tensor
    shift: int
    bins: Tensor

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Before the first voxel."""
        zero = torch.zeros(classes, classes, dtype=torch.int64)
        return cls(zero, zero, _COARSE_SHIFT, zero.new_zeros(classes, classes, _COARSE_BINS))

    def add(self, probabilities: Tensor, label: Tensor) -> Self:
        """Return the histograms with more voxels added; arguments as in ``SelfConfidence.add``."""
        return self.add_voxels(*known_voxels(probabilities, label))

    def add_voxels(self, rows: Tensor, given: Tensor) -> Self:
        """The same for voxels that ``known_voxels`` has found."""
        classes, _, length = self.bins.shape
        bins = (scores(rows, given).view(torch.int32) - self.first.to(rows.device)[given]) >> self.shift
        pairs = given.unsqueeze(1) * classes + torch.arange(classes, device=rows.device)
        inside = (bins >= 0) & (bins < length)
        found = torch.bincount((pairs * length + bins)[inside], minlength=self.bins.numel())
        return replace(self, bins=self.bins + found.view_as(self.bins).cpu())

    def cuts(self, counts: Tensor) -> Tensor:
        """The largest scores that are pruned: ``[C, C]`` float32, -1 where nothing is.

        Args:
            counts: how many to prune, from ``ConfidentJoint.prune_counts``.
        """
        last = self.first + ((self._cut_bins(counts) + 1) << self.shift) - 1
        return last.int().view(torch.float32).where(counts > 0, -1.0)

    def narrowed(self, counts: Tensor) -> Self:
        """Empty histograms of the bins in which the cuts lie, with one bin for each float32 number in them."""
        cut = self._cut_bins(counts)
        below = self.bins.cumsum(-1).gather(-1, cut.unsqueeze(-1)).squeeze(-1)
        below = below - self.bins.gather(-1, cut.unsqueeze(-1)).squeeze(-1)
        bins = self.bins.new_zeros(*cut.shape, 1 << self.shift)
        return type(self)(self.first + (cut << self.shift), self.before + below, 0, bins)

    def _cut_bins(self, counts: Tensor) -> Tensor:
        up_to = self.before.unsqueeze(-1) + self.bins.cumsum(-1)
        return (up_to < counts.unsqueeze(-1)).sum(-1).clamp(max=self.bins.shape[-1] - 1)


def scores(rows: Tensor, given: Tensor) -> Tensor:
    """Scores ``[N, C]`` float32 in 0..2, see ``ScoreHistograms``; small ones keep their relative precision."""
    own = rows.gather(1, given.unsqueeze(1))
    # Never below 0, where bits no longer sort like numbers: probabilities may exceed 1 by a rounding error.
    return (own + (1 - rows)).scatter(1, given.unsqueeze(1), own).clamp(0, 2)
