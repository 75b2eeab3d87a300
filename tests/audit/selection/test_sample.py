from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.audit.selection.sample import SampledLabel, draw_sample, filled_in, read_sample
from segmend.core.tables import write_rows


def population(count=60, labels=("organ", "vessel")):
    random = np.random.default_rng(0)
    return pd.DataFrame(
        [(f"c{number}", label, random.uniform()) for number in range(count) for label in labels],
        columns=["case", "label", "expected_dice"],
    )


def test_probabilities_are_those_of_the_draw():
    rows = population()
    drawn, strata = draw_sample(rows, 40, 0.8, "neyman", 0, "mark")
    assert len({(each.case, each.label) for each in drawn}) == len(drawn) == 40
    assert sum(each.size for each in strata) == len(rows) == drawn[0].population
    counts = Counter(each.stratum for each in drawn)
    for stratum in strata:
        assert counts[stratum.number] == stratum.checked
        own = [each for each in drawn if each.stratum == stratum.number]
        assert {each.inclusion_probability for each in own} == {stratum.checked / stratum.size}
        assert {each.label for each in own} == {stratum.label}
    # Horvitz and Thompson: the inverse probabilities add up to the population.
    assert sum(1 / each.inclusion_probability for each in drawn) == pytest.approx(len(rows))


def test_every_label_of_a_stratum_is_drawn_as_often():
    rows, counts = population(10, ("organ",)), Counter()
    for seed in range(400):
        drawn, _ = draw_sample(rows, 5, 0.8, "proportional", seed, "mark")
        counts.update(each.case for each in drawn)
    # 400 draws with 1/2 each: standard deviation 10.
    assert all(abs(counts[case] - 200) < 45 for case in rows["case"])


def test_strata_hold_all_classes_where_the_budget_is_small():
    drawn, strata = draw_sample(population(), 19, 0.8, "neyman", 0, "mark")
    assert [each.label for each in strata] == ["", "", ""]
    assert len(drawn) == 19
    _, strata = draw_sample(population(), 20, 0.8, "neyman", 0, "mark")
    assert [each.label for each in strata] == ["organ", "organ", "vessel", "vessel"]
    _, strata = draw_sample(population(3), 6, 0.8, "neyman", 0, "mark")
    assert [each.label for each in strata] == ["organ", "vessel"]  # all are checked


def test_the_start_of_the_table_is_spread_over_the_strata():
    drawn, strata = draw_sample(population(), 40, 0.8, "neyman", 3, "mark")
    first = Counter(each.stratum for each in drawn[:20])
    assert all(abs(first[each.number] - each.checked / 2) <= 1 for each in strata)


def test_is_decided_by_the_seed_and_not_by_the_order_of_rows():
    rows = population()
    assert draw_sample(rows, 20, 0.8, "neyman", 1, "m") == draw_sample(rows[::-1], 20, 0.8, "neyman", 1, "m")
    assert draw_sample(rows, 20, 0.8, "neyman", 1, "m") != draw_sample(rows, 20, 0.8, "neyman", 2, "m")


def test_all_labels_can_be_drawn():
    drawn, _ = draw_sample(population(7), 14, 0.8, "neyman", 0, "mark")
    assert all(each.inclusion_probability == 1 for each in drawn)


class TestTable:
    @pytest.fixture
    def written(self, tmp_path):
        drawn, _ = draw_sample(population(), 20, 0.8, "neyman", 0, "mark")
        path = tmp_path / "sample.csv"

        def write(change=lambda rows: rows):
            write_rows(path, SampledLabel, change(drawn))
            return path

        return write

    def test_is_read_as_it_was_written(self, written):
        sample = read_sample(written(), "mark")
        assert (len(sample.rows), sample.below, sum(sample.sizes.values())) == (20, 0.8, 120)
        assert set(sample.classes.values()) == {"organ", "vessel"}

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda rows: rows[1:], "damaged"),
            (lambda rows: [each for each in rows if each.stratum != 1], "damaged"),
            (lambda rows: [*rows, rows[0]], "duplicate"),
            (lambda rows: [replace(rows[0], audit="other"), *rows[1:]], "mismatch"),
            (lambda rows: [replace(rows[0], below=0.7), *rows[1:]], "damaged"),
            (lambda rows: [replace(rows[0], stratum_labels=9999), *rows[1:]], "damaged"),
            (lambda rows: [replace(rows[0], stratum=0), *rows[1:]], "damaged"),
        ],
    )
    def test_what_was_changed_is_refused(self, written, change, code):
        with raises(code):
            read_sample(written(change), "mark")

    @pytest.mark.parametrize(
        ("old", "new", "code"), [("dice", "dise", "unknown-name"), ("below", "b", "missing-value")]
    )
    def test_columns_are_checked(self, written, old, new, code):
        path = written()
        path.write_text(path.read_text().replace(old, new, 1))
        with raises(code, path):
            read_sample(path, "mark")

    def test_filled_in(self, written, tmp_path):
        assert not filled_in(written())
        assert filled_in(written(lambda rows: [replace(rows[0], dice="0.9"), *rows[1:]]))
        assert not filled_in(tmp_path / "nothing.csv")
