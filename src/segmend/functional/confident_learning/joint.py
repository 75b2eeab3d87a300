"""How probable the given labels are, and which classes voxels confidently belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from segmend.core.masks import IGNORE

TOLERANCE = 1e-6
"""Probabilities this close count as equal, as in cleanlab."""


@dataclass(frozen=True, slots=True)
class SelfConfidence:
    """Pass one: how probable the given labels are.

    Attributes:
        total: ``[C]`` float64, sum of the given class's probability over the voxels labelled so.
        voxels: ``[C]`` int64, how many these are.
    """

    total: Tensor
    voxels: Tensor

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Before the first voxel."""
        return cls(torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.int64))

    def add(self, probabilities: Tensor, label: Tensor) -> Self:
        """Return the sums with more voxels added.

        Args:
            probabilities: ``[B, C, *spatial]`` in 0..1.
            label: ``[B, *spatial]`` class indices or ``IGNORE``.
        """
        return self.add_voxels(*known_voxels(probabilities, label))

    def add_voxels(self, rows: Tensor, given: Tensor) -> Self:
        """The same for voxels that ``known_voxels`` has found."""
        own = rows.gather(1, given.unsqueeze(1)).squeeze(1).double()
        # Not a weighted count, whose order of summation changes from run to run on a GPU.
        total = torch.stack([own[given == cls].sum() for cls in range(len(self.total))])
        voxels = torch.bincount(given, minlength=len(self.voxels))
        return replace(self, total=self.total + total.cpu(), voxels=self.voxels + voxels.cpu())

    @property
    def thresholds(self) -> Tensor:
        """t: ``[C]`` float64 in 0..1, and infinity for a class that no voxel is labelled as."""
        mean = (self.total / self.voxels).clamp(min=2 * TOLERANCE)
        return mean.where(self.voxels > 0, torch.inf)


@dataclass(frozen=True, slots=True)
class ConfidentJoint:
    """Pass two: given labels against the classes that voxels confidently belong to.

    Attributes:
        confidence: the result of pass one over the same voxels.
        counts: ``[C, C]`` int64, voxels by given label (row) and confident class (column).
    """

    confidence: SelfConfidence
    counts: Tensor

    @classmethod
    def empty(cls, confidence: SelfConfidence) -> Self:
        """Before the first voxel, with the result of pass one."""
        classes = len(confidence.voxels)
        return cls(confidence, torch.zeros(classes, classes, dtype=torch.int64))

    def add(self, probabilities: Tensor, label: Tensor) -> Self:
        """Return the counts with more voxels added; arguments as in ``SelfConfidence.add``."""
        return self.add_voxels(*known_voxels(probabilities, label))

    def add_voxels(self, rows: Tensor, given: Tensor) -> Self:
        """The same for voxels that ``known_voxels`` has found."""
        confident = confident_class(rows, self.confidence.thresholds)
        classes = len(self.counts)
        pairs = (given * classes + confident)[confident != IGNORE].bincount(minlength=classes**2)
        return replace(self, counts=self.counts + pairs.view(classes, classes).cpu())

    def calibrated(self) -> Tensor:
        """Scaled up to all voxels: ``[C, C]`` int64, whose rows sum to the number of voxels with that label."""
        counts = self.counts.double()
        counts.diagonal().clamp_(min=1)
        return _rounded_rows(counts / counts.sum(1, keepdim=True) * self.confidence.voxels.unsqueeze(1))

    def prune_counts(self) -> Tensor:
        """How many voxels to flag: ``[C, C]`` int64.

        Off the diagonal, voxels labelled k (row) that belong to j (column); on it, voxels labelled k that do not belong
        to k. A class with a single voxel is left unchanged. (cleanlab also keeps the last voxel of a class whose labels
        are all wrong, which can only happen for a class of very few voxels.)
        """
        joint, voxels = self.calibrated(), self.confidence.voxels
        joint.diagonal().copy_(voxels - joint.diagonal())
        return joint * (voxels > 1).unsqueeze(1)


def known_voxels(probabilities: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """``[N, C]`` float32 and ``[N]`` int64 of the voxels that have a label."""
    known = (label != IGNORE).nonzero(as_tuple=True)  # a mask would be searched once for each of the two
    return probabilities.detach().float().movedim(1, -1)[known], label[known].long()


def confident_class(rows: Tensor, thresholds: Tensor) -> Tensor:
    """The class ``[N]`` that reaches its threshold; if several do, the most probable class; ``IGNORE`` if none does."""
    confident = rows >= thresholds.to(rows.device) - TOLERANCE
    chosen = torch.where(confident.sum(1) > 1, rows.argmax(1), confident.int().argmax(1))
    return chosen.masked_fill(~confident.any(1), IGNORE)


def _rounded_rows(values: Tensor) -> Tensor:
    """Round to integers and keep the row sums: the entries that rounding changed most are adjusted."""
    rounded = values.round()
    for exact, row in zip(values, rounded, strict=True):
        missing = int(exact.sum().round() - row.sum())
        order = (exact - row).argsort(stable=True)
        if missing > 0:
            row[order.flip(0)[:missing]] += 1
        elif missing < 0:
            row[order[:-missing]] -= 1
    return rounded.long()
