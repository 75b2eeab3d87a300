r"""The best mask under a calibrated model, and the score of a label that follows from its expected Dice.

D(m) is the expected Dice of a mask m (``functional.expected_dice``). The mask of the highest D holds all voxels above
some threshold (half of that D, and so at most 0.5: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1
Measure, ECML 2014): the best outline according to the model, however uncertain it is.

A true label t does not agree with an uncertain model entirely: its expected D is

    D_t = (2 \sum p^2 + s) / (2 \sum p + s),

the mean of D over labels that are drawn from the probabilities. So D of a label underestimates its Dice with the true
one wherever the model is uncertain. If the errors of the label and those of the model are independent, each costs its
own share, D = Q D_t, where Q is the Dice of the label with the truth. Hence the expected Dice of a label

    Q = min(1, D / (a D_t)),

where a = 1, or, where expert labels were not seen by their model, the median of D / D_t over these: Q is 1 for what
agrees with the model as true labels do. The outline of the model itself is not independent of its errors: its expected
Dice is D, and its D / D_t is larger, say b. Labels whose median of D / D_t is larger than a share errors with the
model, as labels of a program or a registration do, which a network learns. If the share w = (median - a) / (b - a),
less its standard error, is above 0.1, such labels count as outlines of the model: how much of their errors is
independent is unknown, and their expected Dice is D.

The ratio of the expected error of a label to that of the best outline (``Expectation.excess``, a logarithm) already
accounts for the difficulty of the scan. Within a class, let M be its median over the cases and S its robust spread
(1.4826 times the median absolute deviation, at least 0.1). A label with excess x has the score

    1 / (1 + \exp((x - M) / S - 3)):

0.5 where x is three robust standard deviations above the median of the class in this data set, towards 0 beyond. Scores
are comparable between cases and classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import Mask
from segmend.functional.expected_dice import expected_dice

_THRESHOLDS = np.linspace(0, 1, 41)
"""Candidate thresholds for the best mask."""
_SMALLEST = 1e-6
"""Lower bound of the expected error: probabilities are stored with about three digits."""
_SLACK = 0.05
"""Smoothing term relative to the median volume: this fraction of an object counts as small."""
FEWEST_TRUE = 3
"""Expert labels unseen by their model that show how well true labels agree with it."""
SHARED = 0.1
"""w from which labels count as outlines of the model."""
_AGREEMENT_SPREAD = 0.05
"""Standard deviation of D / D_t over true labels, where it was measured (benchmarks/audit)."""
_LEAST_SPREAD = 0.1
"""Expected errors that differ by a tenth do not count as different."""
LEAST_COMPETENCE = 0.6
"""Median expected Dice of a model's own outlines of a class below which it cannot judge labels of that class."""


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    r"""Sums from which the expected Dice of a mask of a class is computed.

    Attributes:
        voxels: of the mask.
        within: \sum_m p.
        total: \sum p.
        squared: \sum p^2.
        counts: ``[T + 1]`` voxels above each of the thresholds that the best mask may have; the last is none.
        masses: ``[T + 1]`` \sum p over these.
    """

    voxels: int
    within: float
    total: float
    squared: float
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
            squared=float(np.square(exact).sum()),
            counts=np.append(counts[::-1].cumsum()[::-1], 0),
            masses=np.append(masses[::-1].cumsum()[::-1], 0.0),
        )

    def dice(self, slack: float) -> float:
        """Expected Dice of the mask.

        Args:
            slack: s in voxels, above 0.
        """
        return expected_dice(self.voxels, self.within, self.total, slack)

    def best_dice(self, slack: float) -> float:
        """Expected Dice of the best mask.

        Args:
            slack: s in voxels, above 0.
        """
        return float(np.max((2 * self.masses + slack) / (self.counts + self.total + slack)))

    def of_truth(self, slack: float) -> float:
        """D_t, which a true label is expected to reach.

        Args:
            slack: s in voxels, above 0.
        """
        return (2 * self.squared + slack) / (2 * self.total + slack)

    def excess(self, slack: float) -> float:
        """Logarithm of the ratio of the expected error 1 - D of the mask to that of the best one.

        Args:
            slack: s in voxels, above 0.
        """
        own, best = (max(1 - value, _SMALLEST) for value in (self.dice(slack), self.best_dice(slack)))
        return math.log(own / best)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well labels of a class agree with the model.

    Attributes:
        true: expectations of expert labels that their model was not trained on.
        predicted: expectations of the model's own outlines of these scans.
        others: expectations of the labels that are not expert ones.
    """

    true: Sequence[Expectation]
    predicted: Sequence[Expectation]
    others: Sequence[Expectation]

    def of_true(self, slack: float) -> float:
        """a: the median of D / D_t over the expert labels; 1 if there are too few.

        Args:
            slack: s in voxels, above 0.
        """
        return _median_ratio(self.true, slack) if len(self.true) >= FEWEST_TRUE else 1.0

    def shared(self, slack: float) -> float:
        """w: position of the other labels between true ones and outlines of the model, 0..1.

        Args:
            slack: s in voxels, above 0.
        """
        if len(self.true) < FEWEST_TRUE or not self.others:
            return 0.0
        true, predicted = self.of_true(slack), _median_ratio(self.predicted, slack)
        # The median of normal values scatters 1.2533 times as much as their mean.
        error = 1.2533 * _AGREEMENT_SPREAD / math.sqrt(len(self.true))
        above = _median_ratio(self.others, slack) - true - error
        return min(1.0, max(0.0, above) / (predicted - true)) if predicted > true else 0.0


def _median_ratio(expectations: Sequence[Expectation], slack: float) -> float:
    return float(np.median([each.dice(slack) / each.of_truth(slack) for each in expectations]))


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
        agreement: a, how well true labels agree with the model, relative to what its probabilities say.
        shared: w, share of the errors of labels that are not expert ones that the model has learned.
    """

    slack: float
    excess: float
    spread: float
    best_dice: float
    tolerance: float
    agreement: float = 1.0
    shared: float = 0.0

    @classmethod
    def of(
        cls,
        expectations: Sequence[Expectation],
        distances: Sequence[float],
        voxel: float,
        agreement: Agreement | None = None,
    ) -> CohortStatistics:
        """Compute the statistics of some cases.

        Args:
            expectations: of their labels.
            distances: usual distances of their surfaces; NaN where there is none.
            voxel: smallest spacing in mm.
            agreement: of true labels and others with the model; None if it is not known.
        """
        drawn = [expectation.voxels for expectation in expectations if expectation.voxels]
        slack = _SLACK * float(np.median(drawn)) if drawn else 1.0
        values = np.array([expectation.excess(slack) for expectation in expectations] or [0.0])
        median = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - median)))
        best = [expectation.best_dice(slack) for expectation in expectations]
        known = [distance for distance in distances if not np.isnan(distance)]
        tolerance = max(voxel, float(np.median(known)) if known else 0.0)
        found = agreement or Agreement((), (), ())
        return cls(
            slack=slack,
            excess=median,
            spread=max(spread, _LEAST_SPREAD),
            best_dice=float(np.median(best)) if best else 1.0,
            tolerance=tolerance,
            agreement=found.of_true(slack),
            shared=found.shared(slack),
        )

    @property
    def competent(self) -> bool:
        """Whether the model has learned the class well enough to judge labels of it."""
        return self.best_dice >= LEAST_COMPETENCE

    def score(self, expectation: Expectation) -> float:
        """Score of a label in 0..1, low if it is suspect."""
        above = (expectation.excess(self.slack) - self.excess) / self.spread
        return 1 / (1 + math.exp(above - 3))

    def dice(self, expectation: Expectation, redrawn: float = 0.0, *, expert: bool = False) -> float:
        """Expected Dice of a label with the true one.

        Args:
            expectation: of the label.
            expert: whether it is an expert label, which shares no errors with the model.
            redrawn: share of its differences to the model that were given up for the outline of the model, 0..1; the
                expected Dice lies as far between that of a label and that of the model's outline.
        """
        as_outline = expectation.dice(self.slack)
        as_label = min(1.0, as_outline / (self.agreement * expectation.of_truth(self.slack)))
        followed = 1.0 if self.shared > SHARED and not expert else redrawn
        return (1 - followed) * as_label + followed * as_outline


def rank_scores(scores: Sequence[float]) -> list[int]:
    """Rank of each score from 1, the lowest; of equal ones the first comes first."""
    order = np.argsort(scores, kind="stable")
    places = np.empty(len(scores), np.int64)
    places[order] = np.arange(1, len(scores) + 1)
    return [int(place) for place in places]
