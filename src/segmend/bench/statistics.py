"""Statistics of the rows of a table: means, spreads, intervals and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from segmend.metrics.statistics import p_values

_RESAMPLES = 10_000
_CONFIDENCE = 0.95


def summarise(results: pd.DataFrame, metrics: Sequence[str], rows: Sequence[str], baseline: str) -> pd.DataFrame:
    """One line for each row and metric of one state of the labels.

    A case counts by its mean over classes, then over seeds. Undefined values (distances to a structure
    that was missed) are left out of means and counted. The best row is tested against the second best,
    and every row against the baseline, by the paired Wilcoxon signed-rank test over cases; p values of one metric
    are corrected together after Holm.

    Args:
        results: columns ``row, seed, case, label`` and the metrics.
        metrics: columns to summarise.
        rows: names in the order of the table; those without results are left out.
        baseline: name of the row that the others are tested against.

    Returns:
        Columns ``row, metric, mean, sd_cases, sd_seeds, seeds, cases, low, high, undefined, missed,
        p_baseline, p_second``; NaN where something cannot be computed.
    """
    present = [row for row in rows if (results["row"] == row).any()]
    tables = [_of_metric(results, metric, present, baseline) for metric in metrics]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def lower_is_better(metric: str) -> bool:
    """Whether small values of a metric are good: true for distances, not for overlaps."""
    return metric not in ("dice", "jaccard", "nsd")


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for multiple tests (Holm, Scand. J. Statist. 1979); NaN stays and does not count."""
    values = np.asarray(p_values, dtype=float)
    order = [position for position in np.argsort(values) if not np.isnan(values[position])]
    corrected, largest = values.copy(), 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[position]))
        corrected[position] = largest
    return [float(value) for value in corrected]


def bootstrap_interval(values: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """95 % interval of the mean by resampling cases (percentiles); the same for the same values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, confidence_level=_CONFIDENCE, method="percentile", rng=0
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _of_metric(results: pd.DataFrame, metric: str, rows: Sequence[str], baseline: str) -> pd.DataFrame:
    per_case = {row: _by_case(results[results["row"] == row], metric) for row in rows}
    lines = [_line(results[results["row"] == row], row, metric, per_case[row]) for row in rows]
    table = pd.DataFrame(lines)
    order = table["mean"].sort_values(ascending=lower_is_better(metric)).index
    tests = [_p(per_case[row], per_case[baseline]) if baseline in rows and row != baseline else np.nan for row in rows]
    second = _p(per_case[rows[order[0]]], per_case[rows[order[1]]]) if len(rows) > 1 else np.nan
    *tests, second = holm([*tests, second])
    return table.assign(p_baseline=tests, p_second=[second if at == order[0] else np.nan for at in range(len(rows))])


def _line(results: pd.DataFrame, row: str, metric: str, per_case: pd.Series[float]) -> dict[str, object]:
    defined = per_case.dropna().to_numpy(dtype=float)
    seeds = results.groupby("seed")[metric].mean()
    low, high = bootstrap_interval(defined)
    return {
        "row": row,
        "metric": metric,
        "mean": defined.mean() if defined.size else np.nan,
        "sd_cases": defined.std() if defined.size else np.nan,
        "sd_seeds": seeds.std(ddof=0) if len(seeds) > 1 else np.nan,
        "seeds": len(seeds),
        "cases": len(per_case),
        "low": low,
        "high": high,
        "undefined": int(results[metric].isna().sum()),
        "missed": int((results["status"] == "missed").sum()),
    }


def _by_case(results: pd.DataFrame, metric: str) -> pd.Series[float]:
    return results.groupby("case")[metric].mean()


def _p(first: pd.Series[float], second: pd.Series[float]) -> float:
    pairs = pd.concat([first, second], axis=1, keys=["first", "second"]).dropna()
    return p_values((pairs["first"] - pairs["second"]).to_numpy(dtype=float))[0]
