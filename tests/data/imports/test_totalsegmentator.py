"""TotalSegmentator folders, written as the data set is distributed."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from refusals import raises

import segmend
from segmend.cli import main
from segmend.core.case import Quality, Split
from segmend.data.check import problems_of_folder
from segmend.data.folder import DataFolder
from segmend.data.image import read_label

AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])
META = (
    "image_id;age;gender;institute;study_type;split;pathology\n"
    "s0000;60;m;A;ct thorax;train;no\ns0001;61;f;B;ct;val;tumor, bleeding\ns0002;62;m;A;ct;test;no\n"
)


def box(*slices):
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[slices] = 1
    return mask


LIVER, VESSEL, SPLEEN = box(slice(0, 4)), box(slice(3, 5), slice(0, 2)), box(5)


@pytest.fixture
def subjects(tmp_path, write_scan):
    """Three subjects; liver and vessel share 1 x 2 x 4 voxels, and s0001 has no spleen."""
    root = tmp_path / "Totalsegmentator_dataset"
    for number in range(3):
        place = root / f"s{number:04d}"
        (place / "segmentations").mkdir(parents=True)
        scan = np.random.default_rng(number).normal(0, 100, (6, 5, 4)).astype(np.int16)
        write_scan(place / "ct.nii.gz", scan, AFFINE)
        for name, mask in (("liver", LIVER), ("aorta", VESSEL), ("spleen", SPLEEN)):
            if (number, name) != (1, "spleen"):
                write_scan(place / "segmentations" / f"{name}.nii.gz", mask, AFFINE)
    (root / "meta.csv").write_text(META)
    return root


def imported(root, **more):
    return segmend.import_data(from_="totalsegmentator", data=root, out=root.parent / "out", **more)


def annotated(out):
    with (out / "cases.csv").open() as file:
        return {row["case"]: row["annotated"] for row in csv.DictReader(file)}


def test_by_the_command_line(subjects, tmp_path, contents, capsys):
    before = contents(subjects)
    words = ["--from", "totalsegmentator", "--data", str(subjects), "--out", str(tmp_path / "out")]
    assert main(["import", *words]) == 0
    assert contents(subjects) == before
    assert "masks overlap in 24 voxels of 3 subjects, most in s0000 (8)" in capsys.readouterr().err
    assert problems_of_folder(tmp_path / "out") == []
    folder = DataFolder.open(tmp_path / "out")
    assert folder.labels == {"background": 0, "aorta": 1, "liver": 2, "spleen": 3}
    assert folder.channel_names == ("CT",)
    assert [(case.split, case.domain, case.quality) for case in folder.cases] == [
        (Split.TRAIN, "A", Quality.NOISY),
        (Split.VAL, "B", Quality.NOISY),
        (Split.TEST, "A", Quality.EXPERT),
    ]
    assert annotated(tmp_path / "out") == {"s0000": "", "s0001": "aorta;liver", "s0002": ""}
    expected = np.where(VESSEL, 1, np.where(LIVER, 2, 3 * SPLEEN))
    np.testing.assert_array_equal(read_label(folder.cases[0].label)[0], expected)
    assert folder.cases[0].images[0].samefile(subjects / "s0000" / "ct.nii.gz")


def test_some_classes(subjects, tmp_path):
    words = ["--from", "totalsegmentator", "--data", str(subjects), "--out", str(tmp_path / "out")]
    assert main(["import", *words, "--labels", "spleen", "liver"]) == 0
    folder = DataFolder.open(tmp_path / "out")
    assert folder.labels == {"background": 0, "liver": 1, "spleen": 2}
    np.testing.assert_array_equal(read_label(folder.cases[0].label)[0], np.where(LIVER, 1, 2 * SPLEEN))


def test_without_a_table_all_are_for_training(subjects, capsys):
    (subjects / "meta.csv").unlink()
    assert {case.split for case in imported(subjects).cases} == {Split.TRAIN}
    assert "has no meta.csv" in capsys.readouterr().err


def test_subjects_without_a_row_are_for_training(subjects, capsys):
    (subjects / "meta.csv").write_text("image_id;split\ns0000;val\ns0002;test\nnot_here;train\n")
    assert [case.split for case in imported(subjects).cases] == [Split.VAL, Split.TRAIN, Split.TEST]
    assert "has no row of 1 subjects, which are for training; the first is s0001" in capsys.readouterr().err


def test_a_subject_without_masks_is_unlabelled(subjects, write_scan):
    (subjects / "s0009").mkdir()
    write_scan(subjects / "s0009" / "ct.nii.gz", np.arange(120, dtype=np.int16).reshape(6, 5, 4), AFFINE)
    cases = {case.name: case for case in imported(subjects).cases}
    assert (cases["s0009"].quality, cases["s0009"].label) == (Quality.NONE, None)


def test_magnetic_resonance(subjects):
    for number in range(3):
        place = subjects / f"s{number:04d}"
        (place / "ct.nii.gz").rename(place / "mri.nii.gz")
    assert imported(subjects).channel_names == ("MR",)


class TestRefusals:
    def test_masks_off_their_scan_are_all_named(self, subjects, write_scan):
        for number in (0, 2):
            write_scan(subjects / f"s{number:04d}" / "segmentations" / "liver.nii.gz", LIVER, np.eye(4))
        with raises("mismatch", subjects, r"s0000(.|\n)*s0002"):
            imported(subjects)
        assert not (subjects.parent / "out").exists()

    def test_a_mask_of_several_values_leaves_nothing_behind(self, subjects, write_scan):
        path = write_scan(subjects / "s0001" / "segmentations" / "liver.nii.gz", LIVER + VESSEL, AFFINE)
        with raises("invalid-value", path):
            imported(subjects)
        assert sorted(path.name for path in subjects.parent.iterdir()) == [subjects.name]

    def test_an_unknown_class(self, subjects):
        with raises("unknown-name", "labels", "did you mean liver|Did you mean liver"):
            imported(subjects, labels=["lever"])

    def test_too_many_classes(self, subjects, write_scan):
        for number in range(252):
            (subjects / "s0000" / "segmentations" / f"rib_{number}.nii.gz").touch()
        with raises("unsupported", subjects, "255 classes, but a label map holds 253"):
            imported(subjects)

    def test_both_kinds_of_scans(self, subjects):
        (subjects / "s0001" / "ct.nii.gz").rename(subjects / "s0001" / "mri.nii.gz")
        with raises("mismatch", subjects, "CT .s0002. and MR .s0001."):
            imported(subjects)

    def test_masks_without_a_scan(self, subjects):
        (subjects / "s0001" / "ct.nii.gz").unlink()
        with raises("missing-file", subjects / "s0001"):
            imported(subjects)

    def test_an_unknown_split(self, subjects):
        (subjects / "meta.csv").write_text("image_id;split\ns0000;tset\n")
        with raises("unknown-name", f"{subjects / 'meta.csv'} line 2"):
            imported(subjects)

    def test_no_subject(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with raises("no-data", tmp_path / "empty"):
            segmend.import_data(from_="totalsegmentator", data=tmp_path / "empty", out=tmp_path / "out")
