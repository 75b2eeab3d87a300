"""Audits by label maps of other programs, on the real command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.audit.evidence import Evidence
from segmend.cli import main
from segmend.commands.audit import audit
from segmend.data.image import read_label, write_label
from segmend.functional.morphology import dilate

CASES = tuple("abcdef")
LABELS = {"background": 0, "left_lung": 2, "right_lung": 5}


@pytest.fixture
def data(make_folder, write_scan):
    """Six labelled cases, of which c is drawn too wide."""
    root = make_folder(cases=CASES, shape=(30, 28, 24), labels=LABELS)
    path = root / "labelsTr" / "c.nii.gz"
    values, grid = read_label(path)
    wide = np.where(values > 0, values, np.where(dilate(values == 2, 7), 2, 0))
    write_scan(path, wide.astype(np.uint8), grid.affine)
    return root


@pytest.fixture
def truths(make_folder):
    """The labels as they were before one was corrupted."""
    root = make_folder("truth", cases=CASES, shape=(30, 28, 24), labels=LABELS) / "labelsTr"
    return {case: read_label(root / f"{case}.nii.gz")[0] for case in CASES}


@pytest.fixture
def predicted(data, truths, tmp_path):
    """Label maps with the values of the data."""
    for case in CASES:
        write_label(tmp_path / "maps" / f"{case}.nii.gz", truths[case], like=data / "labelsTr" / f"{case}.nii.gz")
    return tmp_path / "maps"


@pytest.fixture
def masks(data, truths, tmp_path):
    """As TotalSegmentator writes them, with a class that the data do not have."""
    for case in CASES:
        like = data / "labelsTr" / f"{case}.nii.gz"
        for name, mask in (
            ("left_lung", truths[case] == 2),
            ("right_lung", truths[case] == 5),
            ("heart", truths[case] == 0),
        ):
            write_label(tmp_path / "total" / case / f"{name}.nii.gz", mask.astype(np.uint8), like=like)
    return tmp_path / "total"


def test_the_bad_label_is_first_on_the_command_line(data, predicted, tmp_path, contents, capsys):
    before = contents(predicted)
    assert (
        main(["audit", "--data", str(data), "--out", str(tmp_path / "audit"), "--probabilities", str(predicted)]) == 0
    )
    table = pd.read_csv(tmp_path / "audit" / "audit.csv")
    assert (table.loc[0, "case"], table.loc[0, "label"], table.loc[0, "kind"]) == ("c", "left_lung", "over_segmented")
    assert (table["score"] < 0.5).sum() == 1
    assert contents(predicted) == before
    assert "label maps become probabilities by a logistic function of width" in capsys.readouterr().err


def test_the_evidence_is_less_certain_at_the_surface(data, predicted, truths, tmp_path):
    audit(data=data, out=tmp_path / "audit", probabilities=predicted)
    evidence = Evidence(tmp_path / "audit" / "evidence" / "b.npz")
    label = np.searchsorted([0, 2, 5], truths["b"])
    found = np.stack([evidence.probability(index) for index in range(3)])
    own = np.take_along_axis(found, label[None], 0)[0]
    assert (own >= found.max(0) - 0.01).all()
    # The label maps agree with most labels in every voxel, so the width is the smallest, a tenth of a voxel.
    assert own.min() < 0.995 < 0.999 < own.max()


def test_label_maps_that_equal_the_labels_are_said_to(data, predicted, tmp_path, capsys):
    audit(data=data, out=tmp_path / "audit", probabilities=predicted)
    assert "if they were made from them, they cannot judge them" in capsys.readouterr().err


def test_masks_of_a_class_each_say_the_same(data, predicted, masks, tmp_path):
    expected = audit(data=data, out=tmp_path / "first", probabilities=predicted)
    pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "second", probabilities=masks), expected)
    for case in CASES:
        (masks / case).rename(masks / "moved")
        (masks / case).mkdir()
        (masks / "moved").rename(masks / case / "segmentations")
    pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "third", probabilities=masks), expected)


def test_values_of_another_program_by_its_dataset_json(data, predicted, truths, tmp_path):
    expected = audit(data=data, out=tmp_path / "first", probabilities=predicted)
    other = {"background": 0, "heart": 1, "Right Lung": 2, "left-lung": 3}
    (predicted / "dataset.json").write_text(json.dumps({"labels": other}))
    for case in CASES:
        values = np.select([truths[case] == 2, truths[case] == 5], [3, 2], 0)
        values[0, 0, 0] = 1
        write_label(predicted / f"{case}.nii.gz", values, like=data / "labelsTr" / f"{case}.nii.gz")
    found = audit(data=data, out=tmp_path / "second", probabilities=predicted)
    pd.testing.assert_frame_equal(found, expected)
    settings = json.loads((tmp_path / "second" / "settings.json").read_text())
    assert settings["evidence"]["label_maps"] == {"0": 0, "1": 0, "2": 2, "3": 1}


def test_another_file_format(data, truths, predicted, tmp_path):
    expected = audit(data=data, out=tmp_path / "first", probabilities=predicted)
    for case in CASES:
        like = data / "labelsTr" / f"{case}.nii.gz"
        write_label(tmp_path / "others" / f"{case}.nrrd", truths[case], like=like)
    pd.testing.assert_frame_equal(
        audit(data=data, out=tmp_path / "second", probabilities=tmp_path / "others"), expected
    )


def test_pictures(make_folder, tmp_path):
    data = make_folder("flat", cases=CASES, shape=(40, 44), ending=".png")
    for case in CASES:
        label = read_label(data / "labelsTr" / f"{case}.png")[0]
        write_label(tmp_path / "maps" / f"{case}.png", label, like=data / "labelsTr" / f"{case}.png")
    table = audit(data=data, out=tmp_path / "audit", probabilities=tmp_path / "maps")
    assert (table["kind"] == "ok").all()


def test_regions_are_judged_by_the_values_of_the_data(make_folder, tmp_path):
    data = make_folder(cases=CASES, shape=(30, 28, 24), labels={"background": 0, "edema": 1, "core": 2})
    description = json.loads((data / "dataset.json").read_text())
    description |= {"labels": {"background": 0, "tumour": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    (data / "dataset.json").write_text(json.dumps(description))
    for case in CASES:
        path = data / "labelsTr" / f"{case}.nii.gz"
        write_label(tmp_path / "maps" / path.name, read_label(path)[0], like=path)
    (tmp_path / "maps" / "dataset.json").write_text(json.dumps(description))
    table = audit(data=data, out=tmp_path / "audit", probabilities=tmp_path / "maps")
    assert set(table["label"]) == {"tumour", "core"}
    assert table["dice_to_prediction"].min() > 0.99
    (tmp_path / "maps" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "necrosis": [1, 2]}}))
    with raises("mismatch", tmp_path / "maps" / "dataset.json"):
        audit(data=data, out=tmp_path / "other", probabilities=tmp_path / "maps")


def test_where_a_class_was_not_annotated_the_label_map_is_not_fitted_to_it(data, predicted, tmp_path):
    """Half of the labels lack a class: taken for background, they would make every surface uncertain."""
    expected = audit(data=data, out=tmp_path / "first", probabilities=predicted)
    for case in "abcd":
        path = data / "labelsTr" / f"{case}.nii.gz"
        values, _ = read_label(path)
        write_label(path, np.where(values == 5, 0, values), like=path)
    (data / "cases.csv").write_text("case,annotated\n" + "".join(f"{case},left_lung\n" for case in "abcd"))
    found = audit(data=data, out=tmp_path / "second", probabilities=predicted)
    of_left = found[found["label"] == "left_lung"].set_index("case")["best_dice"]
    before = expected[expected["label"] == "left_lung"].set_index("case")["best_dice"]
    np.testing.assert_allclose(of_left, before[of_left.index], atol=0.02)


def test_other_label_maps_are_another_audit(data, predicted, truths, tmp_path):
    first = audit(data=data, out=tmp_path / "audit", probabilities=predicted)
    pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "audit", probabilities=predicted), first)
    write_label(predicted / "a.nii.gz", np.roll(truths["a"], 1, 0), like=data / "labelsTr" / "a.nii.gz")
    with raises("already-exists", tmp_path / "audit"):
        audit(data=data, out=tmp_path / "audit", probabilities=predicted)


class TestRefusals:
    def refused(self, code, data, given, tmp_path, where, match):
        with raises(code, where, match):
            audit(data=data, out=tmp_path / "audit", probabilities=given)
        assert not (tmp_path / "audit").exists()

    def test_a_value_without_a_class(self, data, predicted, truths, tmp_path):
        write_label(predicted / "d.nii.gz", truths["d"] + 1, like=data / "labelsTr" / "d.nii.gz")
        self.refused("invalid-value", data, predicted, tmp_path, predicted / "d.nii.gz", "no class: 1, 3, 6")

    def test_another_place(self, data, predicted, truths, tmp_path, write_scan):
        write_scan(predicted / "d.nii.gz", truths["d"], np.diag([1.0, 1.0, 1.5, 1.0]) + np.eye(4, k=3) * 4)
        self.refused("mismatch", data, predicted, tmp_path, predicted / "d.nii.gz", "4.0 mm off the label")

    def test_another_shape(self, data, predicted, tmp_path, write_scan):
        write_scan(predicted / "d.nii.gz", np.zeros((4, 5, 6), np.uint8))
        self.refused("mismatch", data, predicted, tmp_path, predicted / "d.nii.gz", "has the shape 4 x 5 x 6")

    def test_a_case_is_missing(self, data, predicted, tmp_path):
        (predicted / "d.nii.gz").unlink()
        self.refused("missing-file", data, predicted, tmp_path, predicted, "no probabilities of 1 of 6 cases, 'd'")

    def test_a_mask_is_missing(self, data, masks, tmp_path):
        (masks / "d" / "left_lung.nii.gz").rename(masks / "d" / "left_lungs.nii.gz")
        self.refused(
            "unknown-name", data, masks, tmp_path, masks / "d", "no class 'left_lung'.*Did you mean left_lungs"
        )

    def test_a_class_is_missing_in_dataset_json(self, data, predicted, tmp_path):
        (predicted / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "left_lung": 2}}))
        self.refused("unknown-name", data, predicted, tmp_path, predicted / "dataset.json", "no class 'right_lung'")

    def test_a_mask_with_several_values(self, data, masks, truths, tmp_path):
        write_label(masks / "d" / "heart.nii.gz", truths["d"], like=data / "labelsTr" / "d.nii.gz")
        write_label(masks / "d" / "left_lung.nii.gz", truths["d"], like=data / "labelsTr" / "d.nii.gz")
        self.refused("invalid-value", data, masks, tmp_path, masks / "d" / "left_lung.nii.gz", "the values 2 to 5")

    def test_probabilities_of_one_case_and_a_label_map_of_another(self, data, predicted, tmp_path):
        np.savez(predicted / "a.npz", probabilities=np.full((3, 24, 28, 30), 1 / 3, np.float32))
        self.refused("mismatch", data, predicted, tmp_path, predicted, r"holds a\.npz, but of case 'b' b\.nii\.gz")
