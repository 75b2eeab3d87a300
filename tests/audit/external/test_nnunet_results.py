"""Results folders of nnU-Net, in the layout of nnU-Net 2.8."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.audit.external.nnunet_results import NnunetResults
from segmend.cli import main
from segmend.commands.audit import audit
from segmend.data.image import read_image, read_label
from segmend.functional.morphology import dilate

CASES = tuple("abcdef")
LABELS = {"background": 0, "organ": 1}
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def data(make_folder, write_scan):
    """Six labelled cases; the label of c is over-segmented."""
    root = make_folder(cases=CASES)
    path = root / "labelsTr" / "c.nii.gz"
    values, grid = read_label(path)
    write_scan(path, dilate(values == 1, 7).astype(np.uint8), grid.affine)
    return root


@pytest.fixture
def results(data, tmp_path):
    """Three folds; fold 0 holds out a and d, fold 1 b and e."""
    root = tmp_path / "results" / "Dataset001_Organ" / MODEL
    for fold in range(3):
        place = root / f"fold_{fold}" / "validation"
        place.mkdir(parents=True)
        (place / "summary.json").write_text("{}")
        for case in CASES[fold::3]:
            image, _ = read_image(data / "imagesTr" / f"{case}_0000.nii.gz")
            organ = 1 / (1 + np.exp(-(image[0] - 130) / 5))
            array = np.stack([1 - organ, organ]).transpose(0, 3, 2, 1).astype(np.float16)
            np.savez_compressed(place / f"{case}.npz", probabilities=array)
            (place / f"{case}.pkl").write_bytes(b"")
    (root / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
    (root / "dataset.json").write_text(json.dumps({"labels": LABELS}))
    return root


@pytest.fixture
def splits(tmp_path):
    path = tmp_path / "splits_final.json"
    val = [list(CASES[fold::3]) for fold in range(3)]
    path.write_text(json.dumps([{"train": sorted({*CASES} - {*held}), "val": held} for held in val]))
    return path


def test_every_label_is_judged_by_the_fold_that_held_it_out(data, results, splits, tmp_path, contents):
    before = contents(results)
    words = ["--nnunet", str(results.parent), "--splits", str(splits), "--out", str(tmp_path / "audit")]
    assert main(["audit", "--data", str(data), *words]) == 0
    assert contents(results) == before
    table = pd.read_csv(tmp_path / "audit" / "audit.csv")
    assert (table.iloc[0]["case"], table.iloc[0]["kind"]) == ("c", "over_segmented")
    assert dict(zip(table["case"], table["fold"], strict=True)) == dict(zip(CASES, [1, 2, 3] * 2, strict=True))
    assert not table["in_training_set"].any()


def test_gives_what_the_same_arrays_in_one_folder_give(data, results, tmp_path):
    together = tmp_path / "together"
    together.mkdir()
    for file in results.glob("fold_*/validation/*.npz"):
        (together / file.name).hardlink_to(file)
    (together / "plans.json").write_bytes((results / "plans.json").read_bytes())
    first = audit(data=data, out=tmp_path / "first", nnunet=results)
    second = audit(data=data, out=tmp_path / "second", probabilities=together)
    pd.testing.assert_frame_equal(first.drop(columns="fold"), second.drop(columns="fold"))


class TestRefusals:
    def check(self, data, results, **more):
        audit(data=data, out=results.parent / "audit", nnunet=results, **more)

    def test_a_case_of_no_fold(self, data, results):
        (results / "fold_1" / "validation" / "b.npz").unlink()
        with raises("missing-file", results, "no array of 1 of 6 cases, 'b' the first.*fold 0, 1, 2 were found"):
            self.check(data, results)

    def test_a_case_of_two_folds(self, data, results):
        file = results / "fold_1" / "validation" / "b.npz"
        (results / "fold_2" / "validation" / "b.npz").write_bytes(file.read_bytes())
        with raises("duplicate", results / "fold_2" / "validation"):
            self.check(data, results)

    def test_a_model_trained_on_all_cases(self, results):
        for fold in range(3):
            for file in (results / f"fold_{fold}" / "validation").glob("*.npz"):
                file.unlink()
        (results / "fold_all").mkdir()
        with raises("no-data", results, "fold_all is trained on all cases"):
            NnunetResults.find(results)

    def test_other_classes(self, data, results):
        (results / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "vessel": 1}}))
        with raises("mismatch", results / "dataset.json"):
            self.check(data, results)

    def test_other_splits(self, data, results, splits):
        content = json.loads(splits.read_text())
        splits.write_text(json.dumps(content[1:] + content[:1]))
        with raises("mismatch", results, "holds case 'a' in fold 0, but .* holds it out in fold 2"):
            self.check(data, results, splits=splits)

    def test_several_models(self, results):
        other = results.parent / "nnUNetTrainer__nnUNetPlans__2d"
        other.mkdir()
        (other / "plans.json").write_text("{}")
        with raises("mismatch", results.parent, "holds 2 models"):
            NnunetResults.find(results.parent)

    def test_no_model(self, tmp_path):
        with raises("missing-file", tmp_path):
            NnunetResults.find(tmp_path)
        with raises("missing-file", tmp_path / "none"):
            NnunetResults.find(tmp_path / "none")

    def test_the_same_judge_twice(self, data, results):
        with raises("duplicate"):
            self.check(data, results, probabilities=results)

    def test_splits_without_a_use(self, data, results, splits):
        with raises("mismatch", "splits"):
            audit(data=data, out=results.parent / "audit", probabilities=results, splits=splits)
