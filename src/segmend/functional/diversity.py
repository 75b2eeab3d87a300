r"""Choice of cases by gain and diversity; NumPy.

Cases are chosen one after the other. The next one has the largest

    g_i (1 - w \max_{j chosen} s_ij),

g its gain, s its similarity to a case chosen before and w the weight of diversity: a case is worth what the nearest
chosen one does not tell already. w = 0 ranks by gain. With equal gains and w = 1 it is the greedy rule of the k-centre
problem (Gonzalez, Theoretical Computer Science 1985; for images to annotate Sener and Savarese, ICLR 2018).

The similarity is Gower's (Biometrics 1971): for each feature 1 - |x - y| / range, or for categories whether they are
equal, averaged over the features that are known of both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Similarity = Callable[[int], NDArray[np.float64]]
"""Similarity ``[n]`` of all cases to the case with an index, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureGroup:
    """Features that count together as much as those of another group.

    Attributes:
        values: ``[n, features]``; NaN where a feature is not known. Categories are any numbers.
        categorical: whether they are categories.
    """

    values: NDArray[np.float64]
    categorical: bool = False

    @property
    def informative(self) -> FeatureGroup:
        """The group with those features in which some cases differ."""
        if not self.values.size:
            return FeatureGroup(self.values[:, :0], self.categorical)
        known = ~np.isnan(self.values)
        low = np.where(known, self.values, np.inf).min(axis=0)
        high = np.where(known, self.values, -np.inf).max(axis=0)
        return FeatureGroup(self.values[:, high > low], self.categorical)

    def similarity(self, index: int) -> NDArray[np.float64]:
        """Similarity ``[n]`` to a case; NaN where no feature is known of both.

        Args:
            index: of the case.
        """
        values = self.values
        difference = np.abs(values - values[index])
        if self.categorical:
            similar = np.where(np.isnan(difference), np.nan, difference == 0)
        else:
            similar = 1 - difference / (np.nanmax(values, axis=0) - np.nanmin(values, axis=0))
        return _mean_of_known(similar)


def gower_similarity(groups: Sequence[FeatureGroup]) -> Similarity:
    """Gower's similarity of cases, each group of features weighing the same.

    Features that are equal in all cases are left out, since they distinguish none.

    Args:
        groups: of the same n cases.

    Returns:
        The similarity; 0 to cases with which no feature is shared, and of all cases without any feature.
    """
    used = [group.informative for group in groups]
    used = [group for group in used if group.values.shape[1]]

    def similarity(index: int) -> NDArray[np.float64]:
        if not used:
            return np.zeros(len(groups[0].values) if groups else index + 1)
        by_group = np.stack([group.similarity(index) for group in used], axis=1)
        return np.nan_to_num(_mean_of_known(by_group))

    return similarity


@dataclass(frozen=True, slots=True)
class Chosen:
    """A chosen case.

    Attributes:
        index: of the case.
        similarity: to the most similar case chosen before, 0..1; 0 for the first.
        nearest: index of that case; None for the first, and where nothing is similar at all.
        value: gain that was left when it was chosen.
    """

    index: int
    similarity: float
    nearest: int | None
    value: float


def choose_diverse(
    gains: NDArray[np.float64], similarity: Similarity, count: int, diversity: float = 0.5
) -> list[Chosen]:
    """Choose cases by gain and diversity, greedily.

    Args:
        gains: ``[n]``, >= 0.
        similarity: of the cases.
        count: how many to choose, at most n.
        diversity: w, 0..1; 0 ranks by gain.

    Returns:
        The chosen cases in their order. Of equal ones the one that is least similar to those chosen comes first, then
        the one with the lower index.
    """
    nearest = np.zeros(len(gains))
    by = np.full(len(gains), -1)
    left = np.ones(len(gains), np.bool_)
    chosen: list[Chosen] = []
    for _ in range(count):
        values = gains * (1 - diversity * nearest)
        best = left & (values == values[left].max())
        index = int(np.flatnonzero(best)[nearest[best].argmin()])
        other = int(by[index])
        chosen.append(Chosen(index, float(nearest[index]), other if other >= 0 else None, float(values[index])))
        left[index] = False
        similar = similarity(index)
        by = np.where(similar > nearest, index, by)
        nearest = np.maximum(nearest, similar)
    return chosen


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis, NaN left out; NaN where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean
