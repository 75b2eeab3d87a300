r"""Disagreements in mm turned into scores that compare cases and classes.

Within a class, let M be the median disagreement of the cases and S its robust spread (1.4826 times the median absolute
deviation, at least half a voxel). A label with disagreement D has the score

    1 / (1 + (D / (M + 3 S))^2):

0.5 where it is three robust standard deviations above what is usual for this class and data set, towards 0 beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for a class in a data set, in mm.

    Attributes:
        disagreement: median over the cases.
        spread: robust standard deviation over the cases.
        tolerance: how far apart given and predicted surfaces usually are, at least a voxel; what lies within
            it is no error.
    """

    disagreement: float
    spread: float
    tolerance: float

    @classmethod
    def of(cls, disagreements: Sequence[float], distances: Sequence[float], voxel: float) -> Usual:
        """What is usual among some cases.

        Args:
            disagreements: of the cases.
            distances: usual distances of their surfaces; NaN where there is none.
            voxel: smallest spacing in mm.
        """
        values = np.array(disagreements or [0.0])
        median = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - median)))
        known = [distance for distance in distances if not np.isnan(distance)]
        tolerance = max(voxel, float(np.median(known)) if known else 0.0)
        return cls(median, max(spread, voxel / 2), tolerance)

    def score(self, disagreement: float) -> float:
        """Score of a label in 0..1, low if it is suspect."""
        return 1 / (1 + (disagreement / (self.disagreement + 3 * self.spread)) ** 2)


def ranks(scores: Sequence[float]) -> list[int]:
    """Rank of each score from 1, the lowest; of equal ones the first comes first."""
    order = np.argsort(scores, kind="stable")
    places = np.empty(len(scores), np.int64)
    places[order] = np.arange(1, len(scores) + 1)
    return [int(place) for place in places]
