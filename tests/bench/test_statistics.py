from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from segmend.bench.statistics import bootstrap_interval, holm, summarise


def results(**rows: list[list[float]]) -> pd.DataFrame:
    """Dice of each row: one list of cases for every seed."""
    lines = [
        {"row": row, "seed": seed, "case": f"c{case}", "label": "organ", "dice": value, "status": "ok"}
        for row, seeds in rows.items()
        for seed, cases in enumerate(seeds)
        for case, value in enumerate(cases)
    ]
    return pd.DataFrame(lines)


class TestHolm:
    def test_by_hand(self):
        assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
        assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])

    def test_what_is_not_there_does_not_count(self):
        corrected = holm([float("nan"), 0.01, 0.02])
        assert np.isnan(corrected[0])
        assert corrected[1:] == pytest.approx([0.02, 0.02])

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    @settings(max_examples=50)
    def test_never_smaller_and_in_the_same_order(self, p):
        corrected = holm(p)
        assert all(before <= after <= 1 for before, after in zip(p, corrected, strict=True))
        assert all(corrected[a] <= corrected[b] for a in range(len(p)) for b in range(len(p)) if p[a] < p[b])


class TestInterval:
    def test_holds_the_mean_and_shrinks_with_cases(self):
        random = np.random.default_rng(0)
        few, many = random.normal(size=10), random.normal(size=1000)
        low, high = bootstrap_interval(few)
        assert low < few.mean() < high
        assert high - low > 5 * np.subtract(*bootstrap_interval(many)[::-1])

    def test_is_near_the_normal_one(self):
        values = np.random.default_rng(0).normal(size=400)
        low, high = bootstrap_interval(values)
        assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)

    def test_of_one_case_there_is_none(self):
        assert all(np.isnan(bootstrap_interval(np.array([0.5]))))


class TestSummary:
    def test_a_case_counts_once_whatever_the_seeds(self):
        table = summarise(results(A=[[0.2, 0.4], [0.4, 0.8]]), ["dice"], ["A"], "A").iloc[0]
        assert table["mean"] == pytest.approx(0.45)
        assert table["sd_cases"] == pytest.approx(0.15)
        assert table["sd_seeds"] == pytest.approx(0.15)
        assert (table["seeds"], table["cases"]) == (2, 2)

    def test_classes_of_a_case_are_averaged_first(self):
        two = pd.concat([results(A=[[0.2, 0.4]]), results(A=[[0.6, 0.4]]).assign(label="other")])
        table = summarise(two, ["dice"], ["A"], "A").iloc[0]
        assert table["mean"] == pytest.approx(0.4)
        assert table["sd_cases"] == pytest.approx(0.0)

    def test_missed_structures_are_counted(self):
        missed = results(A=[[0.5, 0.0, 0.7]]).assign(hd95=[1.0, np.nan, 3.0], status=["ok", "missed", "ok"])
        table = summarise(missed, ["hd95"], ["A"], "A").iloc[0]
        assert table["mean"] == pytest.approx(2.0)
        assert (table["undefined"], table["missed"]) == (1, 1)

    def test_p_values_are_corrected_together(self):
        random = np.random.default_rng(0)
        base = random.uniform(0.4, 0.6, 12)
        best, good = base + 0.1 + 0.01 * random.random(12), base + random.normal(0, 0.03, 12)
        table = summarise(
            results(Base=[list(base)], Good=[list(good)], Best=[list(best)]), ["dice"], ["Base", "Good", "Best"], "Base"
        )
        table = table.set_index("row")
        plain = [stats.wilcoxon(good - base).pvalue, stats.wilcoxon(best - base).pvalue]
        second = good if good.mean() > base.mean() else base
        expected = holm([*plain, stats.wilcoxon(best - second).pvalue])
        assert table.loc["Good", "p_baseline"] == pytest.approx(expected[0])
        assert table.loc["Best", "p_baseline"] == pytest.approx(expected[1])
        assert table.loc["Best", "p_second"] == pytest.approx(expected[2])
        assert np.isnan(table.loc["Base", "p_baseline"])
        assert table["p_second"].notna().sum() == 1

    def test_of_distances_the_smallest_is_the_best(self):
        frame = results(A=[[0.1] * 6], B=[[0.1] * 6]).assign(hd95=[1, 2, 3, 4, 5, 6, 2, 3, 5, 7, 9, 12])
        table = summarise(frame, ["hd95"], ["A", "B"], "A").set_index("row")
        assert table.loc["A", "p_second"] == pytest.approx(stats.wilcoxon([1, 1, 2, 3, 4, 6]).pvalue * 2)

    def test_rows_without_results_are_left_out(self):
        assert list(summarise(results(A=[[0.5, 0.6]]), ["dice"], ["A", "B"], "B")["row"]) == ["A"]
