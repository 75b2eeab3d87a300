"""Shrinkage of many uncertain estimates of similar quantities towards their common mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm


@dataclass(frozen=True, slots=True)
class TeacherBias:
    """The bias and scatter of a model, from its estimates of quantities whose true value is 0.

    Attributes:
        mean: of the estimates, that is, the bias.
        error: standard error of the mean.
        scatter: standard deviation around it, beyond the estimates' own errors.
    """

    mean: float
    error: float
    scatter: float


@dataclass(frozen=True, slots=True, eq=False)
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


def estimate_bias(
    estimates: Sequence[float], errors: Sequence[float], least_scatter: float = 0.0
) -> TeacherBias | None:
    """Estimate bias and scatter of a model from its estimates of quantities whose true value is 0; None without any.

    Args:
        estimates: ``[N]``.
        errors: ``[N]`` standard errors, > 0.
        least_scatter: lower bound of the scatter.
    """
    if not estimates:
        return None
    x, variance = np.asarray(estimates, dtype=float), np.square(np.asarray(errors, dtype=float))
    scatter = max(_variance_within_groups(x, variance, np.zeros(len(x), dtype=int)), least_scatter**2)
    weight = 1 / (variance + scatter)
    return TeacherBias(float(np.average(x, weights=weight)), float(1 / np.sqrt(weight.sum())), float(np.sqrt(scatter)))


def default_bias(estimates: Sequence[float], scatter: float) -> TeacherBias:
    """Return the bias and scatter to assume of a model if no true value is known: as many are above 0 as below.

    Args:
        estimates: ``[N]``, at least one.
        scatter: conservative assumption.
    """
    return TeacherBias(float(np.median(estimates)), 0.0, scatter)


def shrink(estimates: Sequence[float], errors: Sequence[float], groups: Sequence[str], bias: TeacherBias) -> Shrunk:
    """Normal-normal empirical Bayes: x_i ~ N(b + t_i, e_i^2), t_i ~ N(m_group, s^2), m_group around a common mean.

    Each estimate keeps the fraction s^2 / (s^2 + e^2) of its distance to its group's mean; group means are shrunk to
    the common mean in the same way, so that a group of one is not simply believed, and the common mean to 0. All
    estimates come from the same model, which may have the same error in all of them: so the common mean of many is
    assumed to be no more certain than one of them.

    Args:
        estimates: ``[N]``.
        errors: ``[N]`` standard errors, > 0.
        groups: ``[N]`` name of the group of each.
        bias: of the model; its mean b is subtracted, its scatter adds to the errors.
    """
    x, variance = np.asarray(estimates, dtype=float), _variance(errors, bias)
    names, member = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    spread = _variance_within_groups(x, variance, member)
    weight = 1 / (variance + spread)
    total = np.bincount(member, weight)
    means = np.bincount(member, weight * x) / total
    among = _variance_within_groups(means, 1 / total, np.zeros(len(names), dtype=int))
    common = float(np.average(means, weights=1 / (1 / total + among)))
    systematic = float(1 / np.mean(1 / variance)) + bias.error**2
    bias_corrected = common - bias.mean
    means = _kept_fraction(bias_corrected**2 - systematic, systematic) * bias_corrected + _kept_fraction(
        among, 1 / total
    ) * (means - common)
    kept = _kept_fraction(spread, variance)
    mean = means[member] + kept * (x - bias.mean - means[member])
    error = np.sqrt(kept * variance + (1 - kept) ** 2 * (1 / total[member] + systematic))
    return Shrunk(
        mean=mean,
        error=error,
        group_mean=dict(zip(map(str, names), map(float, means), strict=True)),
        spread=float(np.sqrt(spread)),
    )


def spike_and_slab(
    shrunk: Shrunk, estimates: Sequence[float], errors: Sequence[float], groups: Sequence[str], bias: TeacherBias
) -> Shrunk:
    """Shrink further if an unknown fraction of the t_i are exactly 0 (the two groups of Efron, Stat. Sci. 2008).

    Estimates near b keep less, by the probability that their true value is 0. The fraction of true zeros is the most
    probable one.

    Args:
        shrunk: the result of ``shrink`` for all other arguments.
        estimates: ``[N]``.
        errors: ``[N]`` standard errors, > 0.
        groups: ``[N]`` name of the group of each.
        bias: of the model.
    """
    x, variance = np.asarray(estimates, dtype=float) - bias.mean, _variance(errors, bias)
    of_group = np.array([shrunk.group_mean[group] for group in groups])
    if_zero = norm.logpdf(x, 0, np.sqrt(variance + bias.error**2))
    nonzero = _probability_nonzero(norm.logpdf(x, of_group, np.sqrt(variance + shrunk.spread**2)), if_zero)
    mean = nonzero * shrunk.mean
    error = np.sqrt(nonzero * shrunk.error**2 + nonzero * (1 - nonzero) * shrunk.mean**2)
    return replace(shrunk, mean=mean, error=error)


def _variance(errors: Sequence[float], bias: TeacherBias) -> NDArray[np.float64]:
    variance: NDArray[np.float64] = np.square(np.asarray(errors, dtype=float))
    return variance + bias.scatter**2


def _kept_fraction(true: float, noise: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The fraction kept after shrinkage, from the true variance and the noise variance."""
    true = max(true, 0.0)
    return np.asarray(true / (true + noise))


def _probability_nonzero(if_nonzero: NDArray[np.float64], if_zero: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the probability that each is not 0, from its log-likelihoods, at the most probable fraction of these.

    One more of either kind is assumed, so that neither can be ruled out.
    """

    def mixture(fraction: float) -> NDArray[np.float64]:
        return np.asarray(np.logaddexp(np.log(fraction) + if_nonzero, np.log1p(-fraction) + if_zero))

    fraction = minimize_scalar(
        lambda x: -(mixture(x).sum() + np.log(x) + np.log1p(-x)), bounds=(0, 1), method="bounded"
    ).x
    return np.asarray(np.exp(np.log(fraction) + if_nonzero - mixture(fraction)))


def _variance_within_groups(x: NDArray[np.float64], variance: NDArray[np.float64], member: NDArray[np.intp]) -> float:
    """Variance of the true values within their groups: the one that explains the scatter of the estimates.

    The estimate of Paule and Mandel (J. Res. Natl. Bur. Stand. 1982), which holds if errors differ widely, too.
    """
    freedom = len(x) - member.max() - 1
    if not freedom:
        return 0.0

    def excess(between: float) -> float:
        weight = 1 / (variance + between)
        means = np.bincount(member, weight * x) / np.bincount(member, weight)
        return float(np.sum(weight * np.square(x - means[member])) - freedom)

    if excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, float(np.sum(np.square(x - x.mean())) + 1)))
