from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segmend.core.errors import InputError
from segmend.core.tables import write_table
from segmend.metrics import Score, Status, compare, to_table
from segmend.metrics.results import METRICS


def write(
    path: Path, dice: dict[tuple[str, str], float], hd95: dict[tuple[str, str], float | None] | None = None
) -> Path:
    """A result table with these values; everything else is the same in all rows."""
    scores = [
        Score(
            case, label, value, 0.5, (hd95 or {}).get((case, label), 1.0), 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, Status.OK
        )
        for (case, label), value in dice.items()
    ]
    write_table(path, to_table(scores))
    return path


def row(comparison: pd.DataFrame, label: str, metric: str) -> pd.Series:
    (found,) = [r for _, r in comparison.iterrows() if (r["label"], r["metric"]) == (label, metric)]
    return found


def of_one_label(values: list[float]) -> dict[tuple[str, str], float]:
    return {(f"case {i}", "1"): value for i, value in enumerate(values)}


def test_p_values_by_hand(tmp_path):
    first = write(tmp_path / "a.csv", of_one_label([0.9, 0.8, 0.7]))
    second = write(tmp_path / "b.csv", of_one_label([0.8, 0.6, 0.4]))
    dice = row(compare(first, second), "1", "dice")
    assert dice["n"] == 3
    assert dice["mean_first"] == pytest.approx(0.8)
    assert dice["mean_second"] == pytest.approx(0.6)
    assert dice["difference"] == pytest.approx(0.2)
    # All three differences are positive: 1 of 2^3 sign patterns, on two sides.
    assert dice["p_wilcoxon"] == pytest.approx(2 / 2**3)
    # Differences 1, 2, 3 tenths: t = 2 sqrt(3); with two degrees of freedom p = 1 - t / sqrt(2 + t^2).
    t = 2 * np.sqrt(3)
    assert dice["p_t"] == pytest.approx(1 - t / np.sqrt(2 + t**2))


def test_rows_are_matched_by_name_and_not_by_place(tmp_path):
    rng = np.random.default_rng(0)
    values = of_one_label(rng.uniform(size=15).tolist())
    others = {key: float(rng.uniform()) for key in values}
    first = write(tmp_path / "a.csv", values)
    second = write(tmp_path / "b.csv", dict(reversed(others.items())))
    dice = row(compare(first, second), "1", "dice")
    x, y = np.array(list(values.values())), np.array([others[key] for key in values])
    assert dice["p_t"] == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert dice["p_wilcoxon"] == pytest.approx(stats.wilcoxon(x, y).pvalue)
    swapped = row(compare(second, first), "1", "dice")
    assert swapped["difference"] == pytest.approx(-dice["difference"])
    assert swapped["p_t"] == pytest.approx(dice["p_t"])


def test_identical_results_give_one_and_no_warning(tmp_path):
    first = write(tmp_path / "a.csv", of_one_label([0.9, 0.8, 0.7]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison = compare(first, write(tmp_path / "b.csv", of_one_label([0.9, 0.8, 0.7])))
    assert len(comparison) == 2 * len(METRICS)
    assert (comparison[["p_wilcoxon", "p_t"]] == 1).all(axis=None)
    assert (comparison["difference"] == 0).all()


def test_equal_differences_and_single_pairs_give_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shifted = compare(
            write(tmp_path / "a.csv", of_one_label([0.75, 0.5, 0.25])),
            write(tmp_path / "b.csv", of_one_label([0.5, 0.25, 0])),
        )
        single = compare(write(tmp_path / "c.csv", of_one_label([0.9])), write(tmp_path / "d.csv", of_one_label([0.8])))
    assert row(shifted, "1", "dice")["p_t"] == 0
    assert np.isnan(row(single, "1", "dice")["p_t"])
    assert row(single, "1", "dice")["p_wilcoxon"] == 1


def test_undefined_values_leave_their_pair_out_and_are_counted(tmp_path):
    dice = of_one_label([0.9, 0.8, 0.7])
    keys = list(dice)
    first = write(tmp_path / "a.csv", dice, {keys[0]: None, keys[1]: 4.0, keys[2]: 6.0})
    second = write(tmp_path / "b.csv", dice, {keys[0]: 100.0, keys[1]: 1.0, keys[2]: 2.0})
    hd95 = row(compare(first, second), "1", "hd95")
    assert (hd95["n"], hd95["undefined"], hd95["mean_first"], hd95["mean_second"]) == (2, 1, 5.0, 1.5)
    nothing = write(tmp_path / "c.csv", dice, dict.fromkeys(keys))
    hd95 = row(compare(nothing, second), "1", "hd95")
    assert (hd95["n"], hd95["undefined"]) == (0, 3)
    assert hd95[["mean_first", "difference", "p_t", "p_wilcoxon"]].isna().all()


def test_all_labels_together_count_each_case_once(tmp_path):
    keys = [("x", "1"), ("x", "2"), ("y", "1"), ("y", "2"), ("z", "1"), ("z", "2")]
    first = write(tmp_path / "a.csv", dict(zip(keys, [0.9, 0.7, 0.8, 0.4, 0.6, 0.6], strict=True)))
    second = write(tmp_path / "b.csv", dict(zip(keys, [0.8, 0.6, 0.5, 0.5, 0.6, 0.3], strict=True)))
    comparison = compare(first, second)
    assert comparison["label"].drop_duplicates().tolist() == ["1", "2", "overall"]
    overall = row(comparison, "overall", "dice")
    assert overall["n"] == 3
    assert overall["p_t"] == pytest.approx(stats.ttest_rel([0.8, 0.6, 0.6], [0.7, 0.5, 0.45]).pvalue)


def test_results_of_different_cases_are_refused(tmp_path):
    first = write(tmp_path / "a.csv", of_one_label([0.9, 0.8, 0.7]))
    second = write(tmp_path / "b.csv", of_one_label([0.9]))
    message = r"b\.csv: lacks 2 row\(s\) that .*a\.csv has, the first for case 'case 1', label '1'"
    with pytest.raises(InputError, match=message):
        compare(first, second)
    with pytest.raises(InputError, match=message):
        compare(second, first)
