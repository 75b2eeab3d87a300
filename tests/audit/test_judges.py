"""Audits by several judges."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.audit.calibration import Calibration
from segmend.audit.evidence import Evidence
from segmend.audit.examination import Examination
from segmend.audit.judges import agreement, mean_probabilities
from segmend.cli import main
from segmend.commands.audit import audit
from segmend.data.image import read_label, write_label, write_map
from segmend.functional.morphology import dilate

CASES = tuple("abcdef")
LABELS = {"background": 0, "organ": 1, "vessel": 2}


@pytest.fixture
def data(make_folder, write_scan):
    """Six labelled cases, of which c is drawn too wide."""
    root = make_folder(cases=CASES, shape=(30, 28, 24), labels=LABELS)
    path = root / "labelsTr" / "c.nii.gz"
    values, grid = read_label(path)
    wide = np.where(values > 0, values, dilate(values == 1, 7))
    write_scan(path, wide.astype(np.uint8), grid.affine)
    return root


@pytest.fixture
def truths(make_folder):
    root = make_folder("truth", cases=CASES, shape=(30, 28, 24), labels=LABELS) / "labelsTr"
    return {case: read_label(root / f"{case}.nii.gz")[0] for case in CASES}


@pytest.fixture
def maps(data, truths, tmp_path):
    """Probabilities of 0.9 for the true class."""
    for case in CASES:
        for index, name in enumerate(LABELS):
            path = tmp_path / "maps" / f"{case}_{name}.nii.gz"
            write_map(path, np.where(truths[case] == index, 0.9, 0.05), like=data / "labelsTr" / f"{case}.nii.gz")
    return tmp_path / "maps"


@pytest.fixture
def label_maps(data, truths, tmp_path):
    """The true labels, of case d without the vessel."""
    for case in CASES:
        found = np.where(truths[case] == 2, 0, truths[case]) if case == "d" else truths[case]
        write_label(tmp_path / "labels" / f"{case}.nii.gz", found, like=data / "labelsTr" / f"{case}.nii.gz")
    return tmp_path / "labels"


class TestMean:
    def test_is_that_of_the_calibrated_probabilities(self, make_evidence):
        label = np.zeros((4, 4), np.uint8)
        label[1:3, 1:3] = 1
        seen = [
            Examination.of(label, make_evidence(label, name=name, sure=sure), Calibration(temperature, np.full(2, 0.8)))
            for name, sure, temperature in (("a", 0.9, 1.0), ("b", 0.8, 2.0))
        ]
        found = list(mean_probabilities(seen))
        # At T = 2, odds of 4 become 2: a probability of 2 / 3.
        np.testing.assert_allclose(found[1][label == 1], (0.9 + 2 / 3) / 2, atol=0.01)
        np.testing.assert_allclose(found[0] + found[1], 1, atol=1e-5)


class TestAgreement:
    FIRST = np.array([[0, 1, 1, 2], [0, 1, 0, 2]], np.uint8)
    SECOND = np.array([[0, 1, 1, 0], [1, 0, 0, 0]], np.uint8)

    def test_of_two(self):
        found = agreement([self.FIRST, self.SECOND], {"one": (1,), "two": (2,), "three": (3,)}, 4)
        assert found == {"one": pytest.approx(2 * 2 / (3 + 3)), "two": 0.0, "three": 1.0}

    def test_of_three_it_is_the_mean_over_the_pairs(self):
        found = agreement([self.FIRST, self.SECOND, self.FIRST], {"one": (1,)}, 3)["one"]
        assert found == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)

    def test_a_region_is_compared_as_a_whole(self):
        swapped = np.array([[0, 2, 2, 1], [0, 2, 0, 1]], np.uint8)
        assert agreement([self.FIRST, swapped], {"all": (1, 2), "one": (1,)}, 3) == {"all": 1.0, "one": 0.0}


def test_on_the_command_line(data, maps, label_maps, tmp_path, contents, capsys):
    before = [contents(maps), contents(label_maps)]
    out = tmp_path / "audit"
    given = f"[{maps}, {label_maps}]"
    assert main(["audit", "--data", str(data), "--out", str(out), "--probabilities", given]) == 0
    table = pd.read_csv(out / "audit.csv")
    assert (table.loc[0, "case"], table.loc[0, "label"]) == ("c", "organ")
    dice = table.set_index(["case", "label"])["judges_dice"]
    assert dice["d", "vessel"] == 0
    assert (dice.drop(index=("d", "vessel")) == 1).all()
    judges = pd.read_csv(out / "judges.csv").set_index(["judge", "label"])
    assert set(judges.index) == {(str(root), label) for root in (maps, label_maps) for label in ("organ", "vessel")}
    assert (judges["cases"] == 6).all()
    # One of six labels has Dice below 1 to the first judge, and to the second that of a vessel is 0.
    assert judges.loc[(str(label_maps), "vessel"), "dice_to_labels"] == pytest.approx(5 / 6)
    assert judges.loc[(str(maps), "vessel"), "dice_to_labels"] == 1
    assert judges["competence"].min() > 0.6
    assert [contents(maps), contents(label_maps)] == before
    assert "judge 2 of 2" in capsys.readouterr().err


def test_evidence_is_the_mean_of_both(data, maps, label_maps, tmp_path):
    out = tmp_path / "audit"
    audit(data=data, out=out, probabilities=[maps, label_maps])
    temperature = pd.read_csv(out / "judges.csv").set_index("judge")["temperature"].groupby("judge").first()
    each = []
    for number, root in enumerate((maps, label_maps), start=1):
        evidence = Evidence(out / "judges" / str(number) / "d.npz")
        odds = np.stack([evidence.probability(index) for index in range(3)]) ** (1 / temperature[str(root)])
        each.append(odds / odds.sum(0))
    joined = Evidence(out / "evidence" / "d.npz")
    np.testing.assert_allclose([joined.probability(index) for index in range(3)], np.mean(each, 0), atol=0.01)


def test_one_judge_leaves_the_column_empty_and_writes_no_table(data, maps, tmp_path):
    table = audit(data=data, out=tmp_path / "audit", probabilities=[maps])
    assert table["judges_dice"].isna().all()
    assert not (tmp_path / "audit" / "judges.csv").exists()
    assert not (tmp_path / "audit" / "judges").exists()


def test_it_continues_and_a_changed_or_missing_judge_is_noticed(data, maps, label_maps, truths, tmp_path):
    out = tmp_path / "audit"
    first = audit(data=data, out=out, probabilities=[maps, label_maps])
    (out / "evidence" / "b.npz").unlink()
    (out / "judges" / "2" / "e.npz").unlink()
    pd.testing.assert_frame_equal(audit(data=data, out=out, probabilities=[maps, label_maps], cores=1), first)
    with raises("already-exists", out):
        audit(data=data, out=out, probabilities=maps)
    write_label(label_maps / "a.nii.gz", np.roll(truths["a"], 1, 0), like=data / "labelsTr" / "a.nii.gz")
    with raises("already-exists", out, match="labels"):
        audit(data=data, out=out, probabilities=[maps, label_maps])


def test_together_with_nnunet(data, maps, truths, tmp_path):
    model = tmp_path / "model"
    (model / "fold_0" / "validation").mkdir(parents=True)
    (model / "dataset.json").write_text(json.dumps({"labels": LABELS}))
    (model / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
    for case in CASES:
        array = np.stack([np.where(truths[case] == index, 0.8, 0.1).T for index in range(3)])
        np.savez(model / "fold_0" / "validation" / f"{case}.npz", probabilities=array.astype(np.float16))
    table = audit(data=data, out=tmp_path / "audit", probabilities=maps, nnunet=model)
    assert (table["fold"] == 1).all()
    assert (table["judges_dice"] == 1).all()
    assert set(pd.read_csv(tmp_path / "audit" / "judges.csv")["judge"]) == {str(model), str(maps)}
    remarks = json.loads((tmp_path / "audit" / "audit.json").read_text())["remarks"]
    assert any(
        remark.startswith(f"{model}: The arrays are in the order of nnU-Net's SimpleITKIO") for remark in remarks
    )


def test_regions(make_folder, tmp_path):
    data = make_folder(cases=CASES, shape=(30, 28, 24), labels={"background": 0, "edema": 1, "core": 2})
    description = json.loads((data / "dataset.json").read_text())
    description |= {"labels": {"background": 0, "tumour": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    (data / "dataset.json").write_text(json.dumps(description))
    for case in CASES:
        path = data / "labelsTr" / f"{case}.nii.gz"
        values = read_label(path)[0]
        write_label(tmp_path / "one" / path.name, values, like=path)
        write_label(tmp_path / "other" / path.name, np.where(values == 2, 1, values), like=path)
    (data / "cases.csv").write_text("case,annotated\na,tumour\n")
    table = audit(data=data, out=tmp_path / "audit", probabilities=[tmp_path / "one", tmp_path / "other"])
    dice = table.groupby("label")["judges_dice"]
    assert dice.min()["tumour"] == 1
    assert dice.max()["core"] == 0
    judges = pd.read_csv(tmp_path / "audit" / "judges.csv").set_index(["judge", "label"])["cases"]
    assert judges[str(tmp_path / "one")].to_dict() == {"tumour": 6, "core": 5}


class TestRefusals:
    def test_a_folder_that_is_given_twice(self, data, maps, tmp_path):
        with raises("duplicate", maps):
            audit(data=data, out=tmp_path / "audit", probabilities=[maps, maps / ".." / "maps"])

    def test_a_run_as_well(self, data, maps, tmp_path):
        with raises("mismatch", "run, probabilities"):
            audit(data=data, out=tmp_path / "audit", probabilities=[maps], run=tmp_path / "run")

    def test_the_second_judge_lacks_a_case(self, data, maps, label_maps, tmp_path):
        (label_maps / "e.nii.gz").unlink()
        with raises("missing-file", label_maps, match="'e'"):
            audit(data=data, out=tmp_path / "audit", probabilities=[maps, label_maps])
        assert not (tmp_path / "audit").exists()
