"""The voxels whose label is doubtful."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.confident_learning.histograms import ScoreHistograms, scores
from segmend.functional.confident_learning.joint import (
    TOLERANCE,
    ConfidentJoint,
    SelfConfidence,
    confident_class,
    known_voxels,
)

PruningRule = Literal["prune_by_class", "prune_by_noise_rate", "both"]
IssueRule = Literal[PruningRule, "confident_learning"]


def off_diagonal_issues(probabilities: Tensor, label: Tensor, thresholds: Tensor) -> Tensor:
    """Voxels that confidently belong to another class than their label's (cleanlab's ``confident_learning``).

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        thresholds: ``[C]`` from ``SelfConfidence.thresholds``.

    Returns:
        Boolean ``[B, *spatial]``.
    """
    return _as_map(_off_diagonal(*known_voxels(probabilities, label), thresholds), label)


def pruned_issues(probabilities: Tensor, label: Tensor, cuts: Tensor, rule: PruningRule = "both") -> Tensor:
    """Voxels with the most suspicious scores.

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        cuts: ``[C, C]`` from ``ScoreHistograms.cuts``.
        rule: those with the smallest probabilities of their class, those with the smallest margins
            to another class, or those that are among both. None of them if the network agrees with the label.

    Returns:
        Boolean ``[B, *spatial]``.
    """
    return _as_map(_pruned(*known_voxels(probabilities, label), cuts, rule), label)


def label_issues(probabilities: Tensor, label: Tensor, rule: IssueRule = "both") -> Tensor:
    """All passes over one batch, exact up to voxels of equal score.

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        rule: as in ``pruned_issues``, or ``confident_learning`` as in ``off_diagonal_issues``.

    Returns:
        Boolean ``[B, *spatial]``: the voxels whose label is doubtful.
    """
    rows, given = known_voxels(probabilities, label)
    confidence = SelfConfidence.empty(probabilities.shape[1]).add_voxels(rows, given)
    if rule == "confident_learning":
        return _as_map(_off_diagonal(rows, given, confidence.thresholds), label)
    counts = ConfidentJoint.empty(confidence).add_voxels(rows, given).prune_counts()
    coarse = ScoreHistograms.empty(probabilities.shape[1]).add_voxels(rows, given)
    fine = coarse.narrowed(counts).add_voxels(rows, given)
    return _as_map(_pruned(rows, given, fine.cuts(counts), rule), label)


def _off_diagonal(rows: Tensor, given: Tensor, thresholds: Tensor) -> Tensor:
    confident = confident_class(rows, thresholds)
    return (confident != IGNORE) & (confident != given) & ~_agrees(rows, given)


def _pruned(rows: Tensor, given: Tensor, cuts: Tensor, rule: PruningRule) -> Tensor:
    below = scores(rows, given) <= cuts.to(rows.device)[given]
    own = torch.zeros_like(below).scatter_(1, given.unsqueeze(1), True)
    by_class, by_noise_rate = (below & own).any(1), (below & ~own).any(1)
    chosen = {"prune_by_class": by_class, "prune_by_noise_rate": by_noise_rate, "both": by_class & by_noise_rate}
    return chosen[rule] & ~_agrees(rows, given)


def _as_map(flags: Tensor, label: Tensor) -> Tensor:
    """Flags of the voxels that have a label, in their places."""
    return torch.zeros_like(label, dtype=torch.bool).masked_scatter_(label != IGNORE, flags)


def _agrees(rows: Tensor, given: Tensor) -> Tensor:
    """Whether the given class is the most probable one, also if another is equally probable."""
    own = given.unsqueeze(1)
    return rows.scatter_add(1, own, torch.full_like(own, TOLERANCE, dtype=rows.dtype)).argmax(1) == given
