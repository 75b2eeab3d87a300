"""Many uncertain estimates of similar things, each pulled towards what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shrunk:
    """Estimates after shrinkage.

    Attributes:
        mean: ``[N]`` posterior means.
        error: ``[N]`` posterior standard deviations.
        group_mean: mean of each group.
        spread: standard deviation of the true values around the mean of their group.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    group_mean: dict[str, float]
    spread: float


def shrink(estimates: Sequence[float], errors: Sequence[float], groups: Sequence[str]) -> Shrunk:
    """Normal-normal empirical Bayes: x_i ~ N(t_i, e_i^2), t_i ~ N(m_group, s^2), the groups' means around a common one.

    s^2 is the moment estimate of DerSimonian and Laird (Control. Clin. Trials 1986), pooled over the groups; with
    it each estimate keeps the share s^2 / (s^2 + e^2) of its distance to its group's mean. Group means are
    shrunk to the mean of all in the same way, so that a group of one is not taken at its word.

    Args:
        estimates: ``[N]``.
        errors: ``[N]`` standard errors, > 0.
        groups: ``[N]`` what belongs together.
    """
    x, variance = np.asarray(estimates, dtype=float), np.square(np.asarray(errors, dtype=float))
    names, member = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    spread = _between(x, variance, member)
    weight = 1 / (variance + spread)
    total = np.bincount(member, weight)
    means = np.bincount(member, weight * x) / total
    if len(names) > 1:
        of_means = _between(means, 1 / total, np.zeros(len(names), dtype=int))
        common = np.average(means, weights=1 / (1 / total + of_means))
        means = common + of_means / (of_means + 1 / total) * (means - common)
    kept = spread / (spread + variance)
    return Shrunk(
        mean=means[member] + kept * (x - means[member]),
        error=np.sqrt(kept * variance + (1 - kept) ** 2 / total[member]),
        group_mean=dict(zip(map(str, names), map(float, means), strict=True)),
        spread=float(np.sqrt(spread)),
    )


def known_zero(estimates: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """What estimates of things that are known to be 0 say of who made them: the bias, and the scatter around it.

    The bias is pulled towards 0 by its own uncertainty. Without estimates both are 0.

    Args:
        estimates: ``[N]``.
        errors: ``[N]`` standard errors, > 0.
    """
    if not estimates:
        return 0.0, 0.0
    found = shrink(estimates, errors, [""] * len(estimates))
    mean = found.group_mean[""]
    variance = 1 / sum(1 / (error**2 + found.spread**2) for error in errors)
    between = max(mean**2 - variance, 0.0)
    return mean * between / (between + variance), found.spread


def _between(x: NDArray[np.float64], variance: NDArray[np.float64], member: NDArray[np.intp]) -> float:
    """Variance of the true values within their groups."""
    weight = 1 / variance
    total = np.bincount(member, weight)
    heterogeneity = np.sum(weight * np.square(x - (np.bincount(member, weight * x) / total)[member]))
    freedom = len(x) - len(total)
    scale = np.sum(total - np.bincount(member, np.square(weight)) / total)
    return float(max(0.0, (heterogeneity - freedom) / scale)) if scale > 0 else 0.0
