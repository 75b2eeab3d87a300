"""Confident learning: which labels a network's probabilities contradict.

Northcutt et al., Confident Learning, JAIR 2021, as its authors' library cleanlab computes it. The voxels are never
needed all at once. Every pass accumulates sums over batches, cases or chunks, and the sums are small:

1. ``SelfConfidence``: t_k, the mean probability of class k over the voxels that are labelled k. ``ScoreHistograms``,
   which only the pruning rules need, may be filled in the same pass.
2. ``ConfidentJoint``: how many voxels labelled k confidently belong to class j, that is with p_j >= t_j.
3. ``off_diagonal_issues`` or ``pruned_issues``: the doubtful voxels, chunk by chunk.

``label_issues`` does all of it for one batch. Probabilities should come from a network that was not trained on the same
labels, or that has not memorised them. Voxels with ``IGNORE`` are left out and never flagged.
"""

from segmend.functional.confident_learning.histograms import ScoreHistograms
from segmend.functional.confident_learning.issues import (
    IssueRule,
    PruningRule,
    label_issues,
    off_diagonal_issues,
    pruned_issues,
)
from segmend.functional.confident_learning.joint import ConfidentJoint, SelfConfidence

__all__ = [
    "ConfidentJoint",
    "IssueRule",
    "PruningRule",
    "ScoreHistograms",
    "SelfConfidence",
    "label_issues",
    "off_diagonal_issues",
    "pruned_issues",
]
