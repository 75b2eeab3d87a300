from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from segmend.audit.cross_validation import assign_folds, held_out_cases, hide_fold, without_evidence
from segmend.audit.evidence import write_evidence
from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Quality, Split
from segmend.data.folder import DataFolder


def test_damaged_evidence_and_that_of_another_grid_is_made_anew(make_folder, tmp_path):
    folder = DataFolder.open(make_folder(cases=("a", "b", "c", "d"), shape=(6, 5, 4)))
    cases, place = folder.select(Split.TRAIN), AuditFolder(tmp_path / "audit")
    for case, shape in zip(cases, [(6, 5, 4), (6, 5, 4), (5, 6, 4)], strict=False):
        write_evidence(place.evidence(case.name), [np.full(shape, 0.5)] * folder.classes)
    content = place.evidence("b").read_bytes()
    place.evidence("b").write_bytes(content[:-30])
    assert [case.name for case in without_evidence(cases, folder, place)] == ["b", "c", "d"]


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


def test_experts_are_held_out_only_if_there_is_nobody_else():
    noisy, experts = CASES[:2], [case("e1", Quality.EXPERT), case("e2", Quality.EXPERT)]
    others = [case("n", Quality.NONE), case("v", split=Split.VAL), case("t", Quality.EXPERT, Split.TEST)]
    assert held_out_cases([*noisy, *experts, *others]) == noisy
    assert held_out_cases([*experts, *others]) == experts
