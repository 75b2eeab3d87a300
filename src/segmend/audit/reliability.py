"""How good the labels of a data set are together, and how reliable the expected Dice is.

The expected Dice of the model's own outline of an expert label that it was not trained on can be compared with the
true one (a reliability diagram: DeGroot & Fienberg, The Comparison and Evaluation of Forecasters, 1983). Without such
labels it is compared with the given ones, which shows agreement only.

How many labels are below some Dice is stated with a range: from those that are left if all expected Dice are too low by
``ERROR`` to those that there are if all are too high by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BELOW = 0.8
"""True Dice below which a label is bad."""
ERROR = 0.05
"""Mean error of the expected Dice where it was compared with true labels (benchmarks/audit)."""
EXPERTS, GIVEN = "expert labels", "given labels"
"""What the model's own outlines are compared with: labels that are right, or labels that may be wrong."""
FEWEST = 10
"""Expert labels unseen by their model that are needed to calibrate, and to set the norm, by them alone."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Expected and true Dice of the model's own outlines of a class.

    Attributes:
        against: ``EXPERTS`` or ``GIVEN``; of labels that their model was not trained on.
        expected: expected Dice of each case, 0..1.
        found: Dice to the label, 0..1.
    """

    against: str
    expected: Sequence[float]
    found: Sequence[float]

    @property
    def bias(self) -> float:
        """Mean of expected minus found; NaN without a case."""
        return float(np.mean(np.subtract(self.expected, self.found))) if self.expected else float("nan")

    @property
    def error(self) -> float:
        """Mean absolute difference; NaN without a case."""
        return float(np.mean(np.abs(np.subtract(self.expected, self.found)))) if self.expected else float("nan")


def share_below(expected_dice: Sequence[float]) -> tuple[float, float, float]:
    """Share of labels with an expected Dice below ``BELOW``, with its lower and upper limit; 0 without a label.

    Args:
        expected_dice: of each label, 0..1.
    """
    if not expected_dice:
        return 0.0, 0.0, 0.0
    share, low, high = (
        sum(expected < limit for expected in expected_dice) / len(expected_dice)
        for limit in (BELOW, BELOW - ERROR, BELOW + ERROR)
    )
    return share, low, high
