r"""Stratified random samples, and the fraction that is estimated from one; NumPy.

A population of N labels is divided into strata of N_h. Of each, n_h are drawn at random without replacement, and x_h of
these are erroneous. With W_h = N_h / N and p_h = x_h / n_h, the fraction of erroneous labels has the unbiased estimate

    p = \sum W_h p_h,   variance \sum W_h^2 (1 - n_h / N_h) p_h (1 - p_h) / (n_h - 1)

(Cochran, Sampling Techniques, 3rd edition 1977, chapter 5). The variance is 0 where all or none of a stratum are
erroneous, so that an interval made of it would be too short. Instead, each stratum gets its exact limits [l_h, u_h], by
inverting the hypergeometric distribution (Clopper and Pearson, Biometrika 1934, for a finite population), and they are
combined by the distances to the estimate (Zou and Donner, Statistics in Medicine 2008):

    [p - \sqrt{\sum W_h^2 (p_h - l_h)^2},  p + \sqrt{\sum W_h^2 (u_h - p_h)^2}].

With one stratum it is the exact interval. Where 5 or fewer erroneous labels were found in all, the squares hold badly
for the lower limit, and the distances themselves are added; where 5 or fewer correct ones were, for the upper limit.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Allocation = Literal["neyman", "proportional"]
"""How a sample is distributed over strata: in proportion to their size times their spread, or to their size."""

CONFIDENCE = 0.95
"""Of the interval, two-sided."""

_FEW = 5
"""Labels up to which the limits are combined without squares: coverage fell to 0.84 in small strata otherwise."""

_ERROR = 0.1
"""Standard deviation that the expected Dice is taken to differ from the true one by, when a sample is planned."""
_SUREST = 0.05
"""Planning takes no label for more certain than this, in case that the expectation is wrong."""


def probability_below(expected: NDArray[np.float64], below: float) -> NDArray[np.float64]:
    """Probability that a true Dice is below a limit, to plan a sample by; nothing that is estimated depends on it.

    Args:
        expected: the expected Dice, 0..1, of any shape.
        below: the limit.

    Returns:
        The same shape, 0.05..0.95: that of a normal distribution around the expected Dice.
    """
    probability: NDArray[np.float64] = stats.norm.cdf((below - expected) / _ERROR).clip(_SUREST, 1 - _SUREST)
    return probability


def divide(expected: NDArray[np.float64], spreads: NDArray[np.float64], strata: int) -> NDArray[np.int64]:
    """Divide a population into strata along the expected value, of equal sums of spreads.

    With such strata an optimal sample is about equally large in each (Wright, Journal of the American Statistical
    Association 1983). Equal values stay in one stratum, so there may be fewer of them.

    Args:
        expected: ``[N]``, along which to divide.
        spreads: ``[N]``, above 0: standard deviation that is expected of each.
        strata: how many.

    Returns:
        ``[N]`` number of the stratum, 0 for the lowest expected values; all numbers up to the largest occur.
    """
    _, place = np.unique(expected, return_inverse=True)
    mass = np.bincount(place, weights=spreads)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    of_value = np.minimum((middle * strata).astype(np.int64), strata - 1)
    _, numbers = np.unique(of_value[place], return_inverse=True)
    found: NDArray[np.int64] = numbers.astype(np.int64).reshape(expected.shape)
    return found


def allocate(
    sizes: NDArray[np.int64], spreads: NDArray[np.float64], total: int, allocation: Allocation = "neyman"
) -> NDArray[np.int64]:
    r"""Distribute a sample over strata.

    Args:
        sizes: ``[H]`` N_h, each at least 1.
        spreads: ``[H]`` S_h, standard deviation that is expected within each, above 0.
        total: size of the sample, from H to \sum N_h.
        allocation: "neyman": n_h in proportion to N_h S_h (Neyman, Journal of the Royal Statistical Society 1934);
            "proportional": to N_h.

    Returns:
        ``[H]`` n_h with the given sum, from 1 to N_h; 2 or more where size and total allow it.
    """
    weights = sizes * (spreads if allocation == "neyman" else 1.0)
    least = np.minimum(sizes, 2 if total >= np.minimum(sizes, 2).sum() else 1)
    numbers = least.copy()
    for _ in range(total - int(least.sum())):
        # Largest shortfall first: each step is what rounding of the exact shares would add next.
        need = np.where(numbers < sizes, weights / (numbers + 0.5), -np.inf)
        numbers[int(need.argmax())] += 1
    return numbers


@dataclass(frozen=True, slots=True)
class Stratum:
    """A stratum, some of its labels checked.

    Attributes:
        size: N_h, labels that it has.
        checked: n_h, of them, 1 to N_h.
        found: x_h, of these the erroneous ones.
    """

    size: int
    checked: int
    found: int

    @property
    def fraction(self) -> float:
        """p_h."""
        return self.found / self.checked

    def limits(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Exact limits of the fraction of erroneous labels: those that do not make the finding improbable.

        Args:
            confidence: two-sided, 0..1.
        """
        # As many can be erroneous: from those that were found to all that were not found to be correct.
        possible = range(self.found, self.size - (self.checked - self.found) + 1)
        tail = (1 - confidence) / 2

        def as_many(erroneous: int) -> float:
            return float(stats.hypergeom.sf(self.found - 1, self.size, erroneous, self.checked))

        def fewer(erroneous: int) -> float:
            return -float(stats.hypergeom.cdf(self.found, self.size, erroneous, self.checked))

        # Both rise with the number of erroneous labels.
        lowest = possible[bisect_right(possible, tail, key=as_many)]
        highest = possible[bisect_left(possible, -tail, key=fewer) - 1]
        return lowest / self.size, highest / self.size


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated fraction.

    Attributes:
        fraction: p, 0..1.
        standard_error: of p; NaN if a stratum with more labels than one has a single checked one.
        low: lower limit.
        high: upper limit.
    """

    fraction: float
    standard_error: float
    low: float
    high: float


def estimate_fraction(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the fraction of erroneous labels in a population from a stratified sample.

    Args:
        strata: all strata, one or more.
        confidence: of the interval, two-sided.
    """
    weights = np.array([stratum.size for stratum in strata]) / sum(stratum.size for stratum in strata)
    own = np.array([stratum.fraction for stratum in strata])
    limits = np.array([stratum.limits(confidence) for stratum in strata])
    below, above = weights * (own - limits[:, 0]), weights * (limits[:, 1] - own)
    found = sum(stratum.found for stratum in strata)
    correct = sum(stratum.checked for stratum in strata) - found
    fraction = float(weights @ own)
    return Estimate(
        fraction=fraction,
        standard_error=math.sqrt(float(weights**2 @ np.array([_variance(stratum) for stratum in strata]))),
        low=max(0.0, fraction - _combined(below, found)),
        high=min(1.0, fraction + _combined(above, correct)),
    )


def _combined(distances: NDArray[np.float64], count: int) -> float:
    """Distance of a limit from the estimate, of those of the strata."""
    return float(distances.sum() if count <= _FEW else np.sqrt((distances**2).sum()))


def _variance(stratum: Stratum) -> float:
    """Estimated variance of the fraction of a stratum."""
    if stratum.checked == stratum.size:
        return 0.0
    if stratum.checked == 1:
        return math.nan
    own = stratum.fraction
    return (1 - stratum.checked / stratum.size) * own * (1 - own) / (stratum.checked - 1)
