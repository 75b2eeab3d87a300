"""Whether two results differ by more than chance."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from segmend.core.errors import InputError
from segmend.metrics.results import METRICS, read_table

OVERALL: Final = "overall"
"""Value of the column ``label`` in the rows for all labels together."""


def compare(first: Path, second: Path) -> pd.DataFrame:
    """Paired tests of two result tables of the same cases and labels.

    The p values are two-sided and not corrected for the number of tests. The labels of one case are
    not independent of each other, so in the rows for all labels together each case is one pair, by its
    mean over the labels.

    Args:
        first: CSV file written by ``segmend evaluate``.
        second: another one.

    Returns:
        One row per label and metric, and one per metric for all labels (``overall``): number of pairs ``n``, number of
        pairs left out because a value is ``undefined``, both means over the pairs, ``difference`` (first - second),
        ``p_wilcoxon`` (signed rank) and ``p_t`` (paired t-test). Means are NaN without pairs, p values where a test
        needs more of them.

    Raises:
        InputError: a file cannot be read, or the two do not hold the same cases and labels.
    """
    pairs = _pair(first, second)
    groups = [(str(label), rows) for label, rows in pairs.groupby("label", sort=False)] + [(OVERALL, pairs)]
    return pd.DataFrame([_test(label, metric, rows) for label, rows in groups for metric in METRICS])


def _pair(first: Path, second: Path) -> pd.DataFrame:
    """Both tables side by side, their metrics suffixed by ``_first`` and ``_second``."""
    keys = ["case", "label"]
    tables = {path: read_table(path).set_index(keys) for path in (first, second)}
    for path, other in ((first, second), (second, first)):
        lacking = tables[other].index.difference(tables[path].index, sort=False)
        if len(lacking):
            case, label = lacking[0]
            raise InputError(
                path,
                f"lacks {len(lacking)} row(s) that {other} has, the first for case '{case}', label '{label}'",
                "compare results of the same cases and labels",
                code="mismatch",
            )
    return tables[first].merge(tables[second], on=keys, suffixes=("_first", "_second")).reset_index()


def _test(label: str, metric: str, pairs: pd.DataFrame) -> dict[str, object]:
    values = pairs[["case", f"{metric}_first", f"{metric}_second"]]
    defined = values.dropna()
    per_case = defined.groupby("case", sort=False).mean()
    first, second = per_case.to_numpy(dtype=float).T
    wilcoxon, t = p_values(first - second)
    return {
        "label": label,
        "metric": metric,
        "n": len(per_case),
        "undefined": len(values) - len(defined),
        "mean_first": first.mean() if first.size else np.nan,
        "mean_second": second.mean() if second.size else np.nan,
        "difference": (first - second).mean() if first.size else np.nan,
        "p_wilcoxon": wilcoxon,
        "p_t": t,
    }


def p_values(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Signed-rank test and t-test of the hypothesis that the differences are centred on 0."""
    if not differences.size:
        return np.nan, np.nan
    if not differences.any():
        return 1.0, 1.0
    with warnings.catch_warnings():
        # SciPy warns of a single pair, where t is undefined, and of equal differences, where its p is rightly 0.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.wilcoxon(differences).pvalue), float(stats.ttest_1samp(differences, 0.0).pvalue)
