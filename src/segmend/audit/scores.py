r"""Scores, comparable between cases and classes, from expected errors.

The ratio of the expected error of a label to that of the best outline (``Expectation.excess``, a logarithm) already
accounts for the difficulty of the scan. Within a class, let M be its median over the cases and S its robust spread
(1.4826 times the median absolute deviation, at least 0.1). A label with excess x has the score

    1 / (1 + \exp((x - M) / S - 3)):

0.5 where x is three robust standard deviations above the median of the class in this data set, towards 0 beyond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmend.audit.expectation import Expectation

_SLACK = 0.05
"""Smoothing term relative to the median volume: this fraction of an object counts as small."""
_LEAST_SPREAD = 0.1
"""Expected errors that differ by a tenth do not count as different."""


@dataclass(frozen=True, slots=True)
class CohortStatistics:
    """Reference statistics of a class in a data set.

    Attributes:
        slack: volume in voxels that is small for an object of this class.
        excess: median over the cases.
        spread: its robust standard deviation over the cases.
        best_dice: median over the cases of the Dice that the model expects of its best outlines.
        tolerance: usual distance in mm between given and predicted surfaces, at least a voxel; differences within it
            are not errors.
    """

    slack: float
    excess: float
    spread: float
    best_dice: float
    tolerance: float

    @classmethod
    def of(cls, expectations: Sequence[Expectation], distances: Sequence[float], voxel: float) -> CohortStatistics:
        """Compute the statistics of some cases.

        Args:
            expectations: of their labels.
            distances: usual distances of their surfaces; NaN where there is none.
            voxel: smallest spacing in mm.
        """
        drawn = [expectation.voxels for expectation in expectations if expectation.voxels]
        slack = _SLACK * float(np.median(drawn)) if drawn else 1.0
        values = np.array([expectation.excess(slack) for expectation in expectations] or [0.0])
        median = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - median)))
        best = [expectation.best_dice(slack) for expectation in expectations]
        known = [distance for distance in distances if not np.isnan(distance)]
        tolerance = max(voxel, float(np.median(known)) if known else 0.0)
        return cls(slack, median, max(spread, _LEAST_SPREAD), float(np.median(best)) if best else 1.0, tolerance)

    def score(self, expectation: Expectation) -> float:
        """Score of a label in 0..1, low if it is suspect."""
        above = (expectation.excess(self.slack) - self.excess) / self.spread
        return 1 / (1 + math.exp(above - 3))


def ranks(scores: Sequence[float]) -> list[int]:
    """Rank of each score from 1, the lowest; of equal ones the first comes first."""
    order = np.argsort(scores, kind="stable")
    places = np.empty(len(scores), np.int64)
    places[order] = np.arange(1, len(scores) + 1)
    return [int(place) for place in places]
