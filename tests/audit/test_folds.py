from __future__ import annotations

from collections import Counter

import pytest

from segmend.audit.folds import assign_folds, to_judge, with_fold_hidden
from segmend.core.case import Case, Quality, Split


def case(name, quality=Quality.NOISY, split=Split.TRAIN, annotator="", tmp="x"):
    return Case(name, (), None if quality is Quality.NONE else tmp, split, quality, "", annotator)


CASES = [case(f"c{number:02d}", annotator="ab"[number % 2]) for number in range(20)]


class TestAssignment:
    def test_folds_are_even_for_each_annotator(self):
        dealt = assign_folds(CASES, 5, 0, {})
        assert set(dealt) == {case.name for case in CASES}
        counts = Counter((case.annotator, dealt[case.name]) for case in CASES)
        assert set(counts.values()) == {2}

    def test_by_lot_of_name_and_seed(self):
        first = assign_folds(CASES, 4, 0, {})
        assert first == assign_folds(CASES[::-1], 4, 0, {})
        assert first != assign_folds(CASES, 4, 1, {})

    def test_twins_stay_together(self):
        twins = {"c05": "c00", "c11": "c00", "c13": "expert", "c14": "expert"}
        for seed in range(5):
            dealt = assign_folds(CASES, 4, seed, twins)
            assert dealt["c00"] == dealt["c05"] == dealt["c11"]
            assert dealt["c13"] == dealt["c14"]


class TestHiding:
    cases = (*CASES, case("expert", Quality.EXPERT), case("v", split=Split.VAL), case("t", split=Split.TEST))

    @pytest.mark.parametrize("fold", [1, 2, 3])
    def test_a_model_sees_no_label_of_its_fold_and_all_others(self, fold):
        dealt = assign_folds(CASES, 3, 0, {})
        shown = with_fold_hidden(self.cases, dealt, fold, {})
        assert [case.name for case in shown] == [case.name for case in self.cases]
        hidden = {case.name for case in shown if not case.shown_label}
        assert hidden == {name for name, number in dealt.items() if number == fold} | {"v"}
        assert {case.name: case.quality for case in shown}["expert"] is Quality.EXPERT

    def test_nor_any_other_label_of_the_same_scan(self):
        twins = {"expert": "c03"}
        dealt = assign_folds(CASES, 3, 0, twins)
        hidden = [
            fold
            for fold in (1, 2, 3)
            for case in with_fold_hidden(self.cases, dealt, fold, twins)
            if case.name == "expert" and not case.shown_label
        ]
        assert hidden == [dealt["c03"]]


def test_experts_are_held_out_only_if_there_is_nobody_else():
    noisy, experts = CASES[:2], [case("e1", Quality.EXPERT), case("e2", Quality.EXPERT)]
    others = [case("n", Quality.NONE), case("v", split=Split.VAL), case("t", Quality.EXPERT, Split.TEST)]
    assert to_judge([*noisy, *experts, *others]) == noisy
    assert to_judge([*experts, *others]) == experts
