r"""Expected Dice of a mask under a calibrated model.

With calibrated probabilities p, the expected volume of a class is \sum p voxels, \sum_m p of them within a mask m. So m
has the expected Dice

    D(m) = (2 \sum_m p + s) / (|m| + \sum p + s),

up to terms that vanish for objects of many voxels. With the smoothing term s, a small volume, an empty mask is correct
where almost nothing is expected. The mask of the highest D holds all voxels above some threshold (half of that D, and
so at most 0.5: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure, ECML 2014): the best outline
according to the model, however uncertain it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import Mask

_THRESHOLDS = np.linspace(0, 1, 41)
"""Candidate thresholds for the best mask."""
_SMALLEST = 1e-6
"""Lower bound of the expected error: probabilities are stored with about three digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    r"""Sums from which the expected Dice of a mask of a class is computed.

    Attributes:
        voxels: of the mask.
        within: \sum_m p.
        total: \sum p.
        counts: ``[T + 1]`` voxels above each of the thresholds that the best mask may have; the last is none.
        masses: ``[T + 1]`` \sum p over these.
    """

    voxels: int
    within: float
    total: float
    counts: NDArray[np.int64]
    masses: NDArray[np.float64]

    @classmethod
    def of(cls, mask: Mask, probability: NDArray[np.floating[Any]]) -> Self:
        """Sums up.

        Args:
            mask: any shape.
            probability: of the class, calibrated, 0..1, of the same shape.
        """
        exact = probability.astype(np.float64)
        counts, masses = (np.histogram(exact, _THRESHOLDS, weights=weights)[0] for weights in (None, exact))
        return cls(
            voxels=int(np.count_nonzero(mask)),
            within=float(exact[mask].sum()),
            total=float(exact.sum()),
            counts=np.append(counts[::-1].cumsum()[::-1], 0),
            masses=np.append(masses[::-1].cumsum()[::-1], 0.0),
        )

    def dice(self, slack: float) -> float:
        """Expected Dice of the mask.

        Args:
            slack: s in voxels, above 0.
        """
        return (2 * self.within + slack) / (self.voxels + self.total + slack)

    def best_dice(self, slack: float) -> float:
        """Expected Dice of the best mask.

        Args:
            slack: s in voxels, above 0.
        """
        return float(np.max((2 * self.masses + slack) / (self.counts + self.total + slack)))

    def excess(self, slack: float) -> float:
        """Logarithm of the ratio of the expected error 1 - D of the mask to that of the best one.

        Args:
            slack: s in voxels, above 0.
        """
        own, best = (max(1 - value, _SMALLEST) for value in (self.dice(slack), self.best_dice(slack)))
        return math.log(own / best)
