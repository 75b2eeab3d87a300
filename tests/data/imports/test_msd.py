"""Decathlon folders, written as the challenge distributes them."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from refusals import raises

import segmend
from segmend.cli import main
from segmend.core.case import Quality, Split
from segmend.data.check import problems_of_folder
from segmend.data.folder import DataFolder
from segmend.data.image import read_image, read_label

AFFINE = np.diag([0.6, 0.6, 3.6, 1.0])


@pytest.fixture
def task(tmp_path):
    """Makes Task05_Prostate: two channels in the last axis, three training and two test scans."""

    def make(channels=2, **changes):
        root = tmp_path / "Task05_Prostate"
        for folder in ("imagesTr", "labelsTr", "imagesTs"):
            (root / folder).mkdir(parents=True)
        random = np.random.default_rng(0)
        shape = (6, 5, 4, channels) if channels > 1 else (6, 5, 4)
        for name in ("p_00", "p_01", "p_02", "p_10", "p_11"):
            part = "Tr" if name < "p_1" else "Ts"
            scan = random.normal(100, 10, shape).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(scan, AFFINE), root / f"images{part}" / f"{name}.nii.gz")
            (root / f"images{part}" / f"._{name}.nii.gz").write_bytes(b"\0\5\x16\7")
            if part == "Tr":
                label = random.integers(0, 3, (6, 5, 4)).astype(np.uint8)
                nibabel.save(nibabel.Nifti1Image(label, AFFINE), root / "labelsTr" / f"{name}.nii.gz")
        names = ("p_02", "p_00", "p_01")
        content = {
            "name": "PROSTATE",
            "description": "Prostate transitional zone and peripheral zone segmentation",
            "licence": "CC-BY-SA 4.0",
            "tensorImageSize": "4D",
            "modality": {"0": "T2", "1": "ADC"} if channels == 2 else {"0": "T2"},
            "labels": {"0": "background", "1": "PZ", "2": "TZ"},
            "numTraining": 3,
            "numTest": 2,
            "training": [
                {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names
            ],
            "test": ["./imagesTs/p_10.nii.gz", "./imagesTs/p_11.nii.gz"],
        }
        (root / "dataset.json").write_text(json.dumps(content | changes))
        return root

    return make


def imported(root):
    return segmend.import_data(from_="msd", data=root, out=root.parent / "out")


def test_by_the_command_line(task, tmp_path, contents):
    root = task()
    before = contents(root)
    assert main(["import", "--from", "msd", "--data", str(root), "--out", str(tmp_path / "out")]) == 0
    assert contents(root) == before
    assert problems_of_folder(tmp_path / "out") == []
    folder = DataFolder.open(tmp_path / "out")
    assert (folder.name, folder.channel_names) == ("PROSTATE", ("T2", "ADC"))
    assert folder.labels == {"background": 0, "PZ": 1, "TZ": 2}
    assert [case.name for case in folder.select(Split.TRAIN)] == ["p_00", "p_01", "p_02"]
    assert [case.quality for case in folder.select(Split.TEST)] == [Quality.NONE] * 2
    for case in folder.cases:
        part = "Tr" if case.split is Split.TRAIN else "Ts"
        scan = nibabel.load(root / f"images{part}" / f"{case.name}.nii.gz").get_fdata()
        for channel, file in enumerate(case.images):
            array, grid = read_image(file)
            np.testing.assert_array_equal(array[0], scan[..., channel].astype(np.float32))
            np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-6)
    label, _ = read_label(folder.cases[0].label)
    np.testing.assert_array_equal(label, nibabel.load(root / "labelsTr" / "p_00.nii.gz").get_fdata())


def test_scans_of_one_channel_are_links_and_labels_copies(task):
    root = task(channels=1)
    folder = imported(root)
    case = folder.cases[0]
    assert case.images[0].samefile(root / "imagesTr" / "p_00.nii.gz")
    assert not case.label.samefile(root / "labelsTr" / "p_00.nii.gz")
    assert case.label.read_bytes() == (root / "labelsTr" / "p_00.nii.gz").read_bytes()


def test_copies_where_links_are_not_possible(task, monkeypatch):
    def fail(*_):
        raise OSError(18, "Invalid cross-device link")

    root = task(channels=1)
    monkeypatch.setattr("os.link", fail)
    case = imported(root).cases[0]
    assert not case.images[0].samefile(root / "imagesTr" / "p_00.nii.gz")
    assert case.images[0].read_bytes() == (root / "imagesTr" / "p_00.nii.gz").read_bytes()


def test_test_scans_with_labels(task):
    root = task(channels=1)
    (root / "labelsTs").mkdir()
    label = nibabel.load(root / "labelsTr" / "p_00.nii.gz")
    nibabel.save(label, root / "labelsTs" / "p_11.nii.gz")
    qualities = {case.name: case.quality for case in imported(root).select(Split.TEST)}
    assert qualities == {"p_10": Quality.NONE, "p_11": Quality.EXPERT}


def test_the_lists_decide(task, capsys):
    root = task(channels=1, test=[])
    folder = imported(root)
    assert [case.name for case in folder.cases] == ["p_00", "p_01", "p_02"]
    assert "2 files are in no list of dataset.json, and left out; the first is imagesTs/p_10" in capsys.readouterr().err


class TestRefusals:
    def test_a_label_off_its_scan(self, task):
        root = task()
        for name, affine in (("p_00", np.diag([0.6, 0.6, 4, 1.0])), ("p_01", AFFINE)):
            shape = (6, 5, 4) if name == "p_00" else (6, 5, 3)
            label = nibabel.Nifti1Image(np.zeros(shape, np.uint8), affine)
            nibabel.save(label, root / "labelsTr" / f"{name}.nii.gz")
        with raises("mismatch", root, "p_00.nii.gz: does not lie on its scan(.|\n)*p_01"):
            imported(root)
        assert not (root.parent / "out").exists()

    def test_other_channels_than_named(self, task):
        root = task(modality={"0": "T2"})
        with raises("mismatch", root, "has 2 channels, but dataset.json names 1"):
            imported(root)

    def test_a_listed_scan_that_is_missing(self, task):
        root = task()
        (root / "imagesTs" / "p_10.nii.gz").unlink()
        with raises("missing-file", root / "imagesTs" / "p_10.nii.gz"):
            imported(root)

    def test_a_truncated_scan(self, task):
        root = task()
        path = root / "imagesTr" / "p_01.nii.gz"
        path.write_bytes(path.read_bytes()[:-50])
        with raises("damaged", path):
            imported(root)

    @pytest.mark.parametrize("path", ["../secret.nii.gz", "/etc/secret.nii.gz"])
    def test_a_path_out_of_the_folder(self, task, path):
        root = task(test=[path])
        with raises("invalid-value", root / "dataset.json", "not below the folder"):
            imported(root)

    def test_an_entry_of_another_form(self, task):
        root = task(training=[{"image": "./imagesTr/p_00.nii.gz"}])
        with raises("invalid-value", root / "dataset.json", "training holds"):
            imported(root)

    def test_no_list(self, task):
        root = task(training=[])
        with raises("missing-value", root / "dataset.json"):
            imported(root)

    def test_a_case_twice(self, task):
        root = task(test=["./imagesTr/p_00.nii.gz"])
        with raises("duplicate", root / "imagesTr" / "p_00.nii.gz"):
            imported(root)

    def test_a_folder_within_the_data(self, task):
        root = task()
        with raises("invalid-value", root / "out"):
            segmend.import_data(from_="msd", data=root, out=root / "out")

    def test_no_folder_of_the_decathlon(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with raises("missing-file", tmp_path / "empty" / "dataset.json"):
            segmend.import_data(from_="msd", data=tmp_path / "empty", out=tmp_path / "out")

    def test_labels_of_another_layout(self):
        with raises("mismatch", "labels"):
            segmend.import_data(from_="msd", data="here", out="there", labels=["PZ"])
