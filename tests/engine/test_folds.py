from __future__ import annotations

from collections import Counter

import pytest

from segmend.core.case import Case, Quality, Split
from segmend.engine.folds import assign_folds, hide_fold


def case(name, quality=Quality.NOISY, split=Split.TRAIN, annotator="", tmp="x"):
    return Case(name, (), None if quality is Quality.NONE else tmp, split, quality, "", annotator)


CASES = [case(f"c{number:02d}", annotator="ab"[number % 2]) for number in range(20)]


class TestAssignment:
    def test_folds_are_even_for_each_annotator(self):
        fold_of = assign_folds(CASES, 5, 0, {})
        assert set(fold_of) == {case.name for case in CASES}
        counts = Counter((case.annotator, fold_of[case.name]) for case in CASES)
        assert set(counts.values()) == {2}

    def test_at_random_by_name_and_seed(self):
        first = assign_folds(CASES, 4, 0, {})
        assert first == assign_folds(CASES[::-1], 4, 0, {})
        assert first != assign_folds(CASES, 4, 1, {})

    def test_duplicate_scans_stay_together(self):
        duplicate_scans = {"c05": "c00", "c11": "c00", "c13": "expert", "c14": "expert"}
        for seed in range(5):
            fold_of = assign_folds(CASES, 4, seed, duplicate_scans)
            assert fold_of["c00"] == fold_of["c05"] == fold_of["c11"]
            assert fold_of["c13"] == fold_of["c14"]


class TestHiding:
    cases = (*CASES, case("expert", Quality.EXPERT), case("v", split=Split.VAL), case("t", split=Split.TEST))

    @pytest.mark.parametrize("fold", [1, 2, 3])
    def test_a_model_sees_no_label_of_its_fold_and_all_others(self, fold):
        fold_of = assign_folds(CASES, 3, 0, {})
        shown = hide_fold(self.cases, fold_of, fold, {})
        assert [case.name for case in shown] == [case.name for case in self.cases]
        hidden = {case.name for case in shown if not case.training_label}
        assert hidden == {name for name, number in fold_of.items() if number == fold} | {"v"}
        assert {case.name: case.quality for case in shown}["expert"] is Quality.EXPERT

    def test_nor_any_other_label_of_the_same_scan(self):
        duplicate_scans = {"expert": "c03"}
        fold_of = assign_folds(CASES, 3, 0, duplicate_scans)
        hidden = [
            fold
            for fold in (1, 2, 3)
            for case in hide_fold(self.cases, fold_of, fold, duplicate_scans)
            if case.name == "expert" and not case.training_label
        ]
        assert hidden == [fold_of["c03"]]
