from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from segmend.core.case import Case, Quality, Split
from segmend.data.folder import DataFolder
from segmend.data.image import read_image
from segmend.data.state import DataState
from segmend.engine.folds import Assignment, assign_folds, find_duplicate_scans, hide_fold


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


def test_expert_labels_are_spread_over_the_folds():
    experts = [case(f"e{number}", Quality.EXPERT) for number in range(4)]
    for seed in range(5):
        fold_of = assign_folds([*CASES, *experts], 5, seed, {})
        assert len({fold_of[expert.name] for expert in experts}) == 4


def test_validation_labels_are_kept_if_asked_for():
    cases = (*CASES, case("v", split=Split.VAL))
    fold_of = assign_folds(CASES, 3, 0, {})
    kept, hidden = (hide_fold(cases, fold_of, 1, {}, keep_validation=keep)[-1] for keep in (True, False))
    assert kept.training_label
    assert not hidden.training_label


def test_duplicate_scans_are_found_by_their_voxels(make_folder, write_scan):
    root = make_folder(cases=("a", "b", "c", "d"), shape=(6, 5, 4))
    image, grid = read_image(root / "imagesTr" / "b_0000.nii.gz")
    write_scan(root / "imagesTr" / "d_0000.nii.gz", image[0].astype(np.float32), grid.affine)  # another type
    folder = DataFolder.open(root)
    assert find_duplicate_scans(folder, folder.select(Split.TRAIN)) == {"d": "b"}


def test_an_assignment_survives_its_file(make_folder):
    folder = DataFolder.open(make_folder(shape=(6, 5, 4)))
    cases = folder.select(Split.TRAIN)
    fold_of = assign_folds(cases, 2, 3, {})
    assignment = Assignment(2, 3, fold_of, {"x": "case_1"}, {"iterations": 4}, DataState.of(folder, cases))
    content = json.loads(json.dumps(assignment.to_json()))
    assert Assignment.from_json(content) == assignment
    shown = assignment.folder(folder, 1)
    assert {each.name for each in shown.cases if not each.training_label} == assignment.held_out(1)
    for part in content:
        with pytest.raises(ValueError, match=part if part != "data" else ""):
            Assignment.from_json({name: value for name, value in content.items() if name != part})
    with pytest.raises(ValueError, match="numbered from 1"):
        Assignment.from_json({**content, "cases": {"case_1": 2, "case_2": 3}})
