"""segmend correct --ignore_issues."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hand_made_audits import Region, hand_made_audit
from refusals import raises

import segmend
from segmend.audit.corrections import read_corrections
from segmend.cli import main
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder
from segmend.data.image import read_label

LABELS = {"background": 0, "organ": 3, "vessel": 7}
SHAPE = (16, 16, 4)
TABLE = "case,split,quality\na,train,noisy\nb,train,expert\n"

GIVEN = np.zeros(SHAPE, np.uint8)
GIVEN[2:8, 2:8] = 1
GIVEN[10:14, 2:8] = 2
ORGAN_ISSUES, VESSEL_ISSUES = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
ORGAN_ISSUES[2:4, 2:8] = True
VESSEL_ISSUES[10:14, 8:10] = True
PROPOSED = np.where(ORGAN_ISSUES, 0, np.where(VESSEL_ISSUES, 2, GIVEN)).astype(np.uint8)


@pytest.fixture
def make(make_folder, write_scan, tmp_path):
    """A data folder with these labels of both cases, and an audit of it; no proposal is applied by its score."""

    def prepare(labels=LABELS, table=TABLE, **options):
        data = make_folder(cases=("a", "b"), labels=LABELS, shape=SHAPE, table=table)
        content = json.loads((data / "dataset.json").read_text()) | {"labels": labels}
        (data / "dataset.json").write_text(json.dumps(content))
        for case in "ab":
            path = data / f"labelsTr/{case}.nii.gz"
            write_scan(path, np.array([0, 3, 7], np.uint8)[GIVEN], read_label(path)[1].affine)
        columns = {"proposal_score": 0.1} | options.pop("columns", {})
        proposals = dict.fromkeys("ab", PROPOSED)
        return data, hand_made_audit(data, tmp_path / "audit", proposals, columns=columns, **options)

    return prepare


@pytest.fixture
def call(make, tmp_path, capsys):
    def run(*words, rows=None, status=0, **options):
        data, audit = make(**options)
        if rows:
            (tmp_path / "decisions.csv").write_text("\n".join(["case,label,decision,region", *rows]))
            words = (*words, "--decisions", tmp_path / "decisions.csv")
        arguments = [
            "correct",
            "--data",
            data,
            "--audit",
            audit.root,
            "--out",
            tmp_path / "out",
            "--ignore_issues",
            True,
        ]
        assert main([str(word) for word in (*arguments, *words)]) == status
        return data, tmp_path / "out", " ".join(capsys.readouterr().err.split())

    return run


def ignored(out, case="a") -> np.ndarray:
    return DataFolder.open(out).to_indices(read_label(out / f"labelsTr/{case}.nii.gz")[0]) == IGNORE


def test_doubtful_voxels_get_the_highest_value(call):
    data, out, shown = call()
    np.testing.assert_array_equal(ignored(out), ORGAN_ISSUES | VESSEL_ISSUES)
    values, _ = read_label(out / "labelsTr/a.nii.gz")
    assert set(values[ORGAN_ISSUES]) == {8}
    np.testing.assert_array_equal(values[~ignored(out)], read_label(data / "labelsTr/a.nii.gz")[0][~ignored(out)])
    assert json.loads((out / "dataset.json").read_text())["labels"] == {**LABELS, "ignore": 8}
    assert "has got the label 'ignore' with the value 8" in shown
    assert f"{(ORGAN_ISSUES | VESSEL_ISSUES).sum()} doubtful voxels are ignored from now on" in shown
    assert "ignore" not in json.loads((data / "dataset.json").read_text())["labels"]
    rows = {row.label: row for row in read_corrections(out)}
    assert {label: (row.reason, row.ignored_voxels) for label, row in rows.items()} == {
        "organ": ("ignored", ORGAN_ISSUES.sum()),
        "vessel": ("ignored", VESSEL_ISSUES.sum()),
    }
    assert all((row.added_voxels, row.removed_voxels) == (0, 0) for row in rows.values())
    assert all(float(row.expected_dice_after) > float(row.expected_dice_before) for row in rows.values())


def test_expert_labels_are_not_touched(call):
    _, out, _ = call()
    assert not ignored(out, "b").any()


def test_unless_expert_labels_may_change(call):
    _, out, _ = call("--change_expert", "true")
    np.testing.assert_array_equal(ignored(out, "b"), ORGAN_ISSUES | VESSEL_ISSUES)


def test_an_ignored_value_that_is_there_is_used(call):
    labels = {**LABELS, "ignore": 9}
    data, out, shown = call(labels=labels)
    assert set(read_label(out / "labelsTr/a.nii.gz")[0][ORGAN_ISSUES]) == {9}
    assert (out / "dataset.json").read_bytes() == (data / "dataset.json").read_bytes()
    assert "has got the label" not in shown


def test_the_form_of_the_decathlon(call):
    _, out, _ = call(labels={"0": "background", "3": "organ", "7": "vessel"})
    assert json.loads((out / "dataset.json").read_text())["labels"]["8"] == "ignore"
    np.testing.assert_array_equal(ignored(out), ORGAN_ISSUES | VESSEL_ISSUES)


def test_what_is_corrected_is_not_ignored(call):
    _, out, _ = call("--minimum_score", "0.05")
    np.testing.assert_array_equal(DataFolder.open(out).to_indices(read_label(out / "labelsTr/a.nii.gz")[0]), PROPOSED)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["a,organ,reject,"], VESSEL_ISSUES),
        (["a,organ,accept,"], VESSEL_ISSUES),
        (["a,organ,unsure,"], ORGAN_ISSUES | VESSEL_ISSUES),
        (["a,organ,reject,", "a,vessel,reject,"], np.zeros_like(GIVEN, bool)),
        (["a,organ,reject,2"], VESSEL_ISSUES),
        (["a,organ,unsure,2"], ORGAN_ISSUES | VESSEL_ISSUES),
    ],
)
def test_what_people_were_sure_of_is_not_ignored(call, rows, expected):
    regions = [Region("a", 2, "organ", "organ", "background", ORGAN_ISSUES)]
    data, out, _ = call(rows=rows, regions=regions)
    np.testing.assert_array_equal(ignored(out), expected)
    same = (out / "dataset.json").read_bytes() == (data / "dataset.json").read_bytes()
    assert same == (not expected.any())


@pytest.mark.parametrize("columns", [{"score": 0.7}, {"score": 0.1, "suspect": False}])
def test_labels_that_are_not_suspect_stay(call, columns):
    _, out, _ = call(columns=columns)
    assert not ignored(out).any()


def test_a_label_left_for_a_person_is_ignored_where_it_is_doubtful(make_folder, write_scan, tmp_path):
    data = make_folder(cases=("a",), shape=SHAPE)
    label = (GIVEN == 1).astype(np.uint8)
    write_scan(data / "labelsTr/a.nii.gz", label, read_label(data / "labelsTr/a.nii.gz")[1].affine)
    audit = hand_made_audit(data, tmp_path / "audit", {"a": np.zeros_like(label)})
    segmend.correct(data, audit.root, out=tmp_path / "out", ignore_issues=True)
    np.testing.assert_array_equal(ignored(tmp_path / "out"), label == 1)


def test_of_partly_annotated_cases_only_annotated_classes(call):
    _, out, _ = call(table="case,split,quality,annotated\na,train,noisy,organ\nb,train,expert,\n")
    np.testing.assert_array_equal(ignored(out), ORGAN_ISSUES)
    assert DataFolder.open(out).cases[0].annotated == ("organ",)


def test_regions_as_classes(make_folder, write_scan, tmp_path):
    data = make_folder(cases=("a",), labels={"background": 0, "a": 1, "b": 2}, shape=SHAPE)
    content = json.loads((data / "dataset.json").read_text())
    content["labels"] = {"background": 0, "whole": [1, 2], "core": 2}
    (data / "dataset.json").write_text(json.dumps(content | {"regions_class_order": [1, 2]}))
    label = (GIVEN > 0).astype(np.uint8)
    label[4:6, 4:6] = 2
    write_scan(data / "labelsTr/a.nii.gz", label, read_label(data / "labelsTr/a.nii.gz")[1].affine)
    proposed = label.copy()
    proposed[2, 2:8], proposed[4, 4:6] = 0, 1
    audit = hand_made_audit(data, tmp_path / "audit", {"a": proposed}, columns={"proposal_score": 0.1})
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("case,label,decision\na,core,reject\n")
    segmend.correct(data, audit.root, out=tmp_path / "out", ignore_issues=True, decisions=decisions)
    wanted = np.zeros(SHAPE, bool)
    wanted[2, 2:8] = True
    np.testing.assert_array_equal(ignored(tmp_path / "out"), wanted)
    assert DataFolder.open(tmp_path / "out").ignore == 3
    assert set(read_label(tmp_path / "out/labelsTr/a.nii.gz")[0][wanted]) == {3}


def test_a_preview_says_it_without_writing(make, contents):
    data, audit = make()
    before = contents(data)
    table = segmend.correct(data, audit.root, preview=True, ignore_issues=True)
    assert contents(data) == before
    assert set(table["reason"]) == {"ignored"}
    numbers = json.loads(audit.preview.with_suffix(".json").read_text())
    assert numbers["ignored_voxels"] == (ORGAN_ISSUES | VESSEL_ISSUES).sum()
    pd.testing.assert_series_equal(table["ignored_voxels"], pd.read_csv(audit.preview)["ignored_voxels"])


class TestRefusals:
    def test_soft_labels_ignore_nothing(self, call, tmp_path):
        assert "--soft, --ignore_issues: are both true" in call("--soft", "true", status=1)[2]
        assert not (tmp_path / "out").exists()

    def test_without_probabilities(self, make, tmp_path):
        data, audit = make(evidence=False)
        with raises("missing-file", "a.npz"):
            segmend.correct(data, audit.root, out=tmp_path / "out", ignore_issues=True)
        assert not (tmp_path / "out").exists()

    def test_no_value_is_left(self, make_folder, tmp_path):
        data = make_folder(cases=("a",), labels={"background": 0, "organ": 65535}, shape=SHAPE)
        audit = hand_made_audit(data, tmp_path / "audit", {})
        with raises("unsupported", "dataset.json"):
            segmend.correct(data, audit.root, out=tmp_path / "out", ignore_issues=True)


def test_the_copy_is_valid(call):
    _, out, _ = call()
    assert main(["check", "--data", str(out)]) == 0
