from __future__ import annotations

import json

import pytest
from refusals import raises

from segmend.core.case import Case
from segmend.engine.splits import Splits

NAMES = ("a", "b", "c", "d")
CASES = [Case(name, (), None) for name in NAMES]


@pytest.fixture
def written(tmp_path):
    def write(*folds):
        path = tmp_path / "splits_final.json"
        path.write_text(json.dumps([{"train": list(train), "val": list(val)} for train, val in folds]))
        return path

    return write


def test_the_first_fold_is_1(written, tmp_path):
    path = written(("bd", "ac"), ("ac", "bd"))
    splits = Splits.read(path)
    assert splits.folds == 2
    assert splits.assign(CASES, NAMES) == {"a": 1, "b": 2, "c": 1, "d": 2}
    assert Splits.read(tmp_path) == splits  # the folder of nnU-Net's preprocessed data


def test_cases_that_are_not_to_be_assigned(written):
    splits = Splits.read(written(("bd", "ac"), ("ac", "bd")))
    assert splits.assign(CASES[:2], NAMES) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("folds", "code", "message"),
    [
        ((("bd", "a"), ("ac", "bd")), "mismatch", "holds out case 'c' in no fold"),
        ((("bd", "ac"), ("ac", "bda")), "mismatch", r"'a' in 2 folds \(0, 1\)"),
        ((("abd", "ac"), ("ac", "bd")), "mismatch", "'a' among the training and the held-out cases of fold 0"),
        ((("b", "ac"), ("ac", "bd")), "unsupported", r"leaves 1 cases out of the training of fold 0 \('d'\)"),
        ((("bdx", "ac"), ("ac", "bd")), "unknown-name", "names 'x'"),
        ((("", "abcd"), ("abcd", "")), "mismatch", "holds out no labelled case in fold 1"),
    ],
)
def test_folds_that_cannot_be_trained(written, folds, code, message):
    path = written(*folds)
    with raises(code, path, message):
        Splits.read(path).assign(CASES, NAMES)


@pytest.mark.parametrize(
    ("text", "code"),
    [("[", "damaged"), ("{}", "invalid-value"), ('[{"train": ["a"]}]', "invalid-value"), ("[]", "invalid-value")],
)
def test_files_of_another_form(tmp_path, text, code):
    path = tmp_path / "splits.json"
    path.write_text(text)
    with raises(code, path):
        Splits.read(path)


def test_no_file(tmp_path):
    with raises("missing-file", tmp_path / "splits_final.json"):
        Splits.read(tmp_path)
