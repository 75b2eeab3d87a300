"""The way from DICOM to a data folder and back, by the command line."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_files import oblique, save, segmentation, slices_of
from refusals import raises

import segmend
from segmend.cli import main
from segmend.data.image import read_label

SHAPE = (12, 8, 5)
RANDOM = np.random.default_rng(2)
LABELS = {patient: RANDOM.integers(0, 3, SHAPE) for patient in ("P1", "P2")}


@pytest.fixture
def place(tmp_path):
    """Two series with SEG, in ``dicom``, and the data folder ``data`` that is made of them."""
    for patient, label in LABELS.items():
        datasets = slices_of(RANDOM.integers(0, 3000, SHAPE).astype(np.uint16), oblique(), patient=patient)
        save(datasets, tmp_path / "dicom" / patient)
        segmentation(tmp_path / "dicom" / f"{patient}.dcm", datasets, {"liver": label == 1, "kidney": label == 2})
    words = ["import", "--from", "dicom", "--data", str(tmp_path / "dicom"), "--out", str(tmp_path / "data")]
    assert main([*words, "--labels", "liver", "kidney"]) == 0
    return tmp_path


def words(place, out, *more):
    given = {"labels": place / "data" / "labelsTr", "data": place / "data", "dicom": place / "dicom", "out": out}
    return ["export-dicom", *[word for name, path in given.items() for word in (f"--{name}", str(path))], *more]


def reimported(place, out):
    """The labels that importing the images and the exported objects gives."""
    again = place / f"{out.name}_again"
    for patient in LABELS:
        shutil.copytree(place / "dicom" / patient, again / patient)
    shutil.copytree(out, again / "objects")
    given = ["--from", "dicom", "--data", str(again), "--out", str(place / f"{out.name}_data")]
    assert main(["import", *given, "--labels", "liver", "kidney"]) == 0
    return {path.name[:2]: read_label(path)[0] for path in (place / f"{out.name}_data" / "labelsTr").iterdir()}


@pytest.mark.parametrize("kind", ["dicom_seg", "rtstruct"])
@pytest.mark.parametrize("tags", ["true", "false"])
def test_there_and_back_voxel_by_voxel(place, kind, tags, contents):
    before = contents(place / "dicom") | contents(place / "data")
    out = place / "objects"
    assert main(words(place, out, "--format", kind, "--patient_tags", tags)) == 0
    assert contents(place / "dicom") | contents(place / "data") == before
    assert sorted(path.name for path in out.iterdir()) == ["P1_20240131_s3.dcm", "P2_20240131_s3.dcm"]
    written = pydicom.dcmread(out / "P1_20240131_s3.dcm")
    assert written.Modality == {"dicom_seg": "SEG", "rtstruct": "RTSTRUCT"}[kind]
    assert written.PatientID == ("P1" if tags == "true" else "")
    found = reimported(place, out) if tags == "true" else {}
    for patient, label in found.items():
        np.testing.assert_array_equal(label, LABELS[patient])


def test_from_python_and_of_a_corrected_label(place):
    path = place / "data" / "labelsTr" / "P1_20240131_s3.nii.gz"
    image = nibabel.load(path)
    changed = np.zeros(SHAPE, np.uint8)
    changed[2:5, 3:6, 1:4] = 2
    (place / "corrected").mkdir()
    nibabel.save(nibabel.Nifti1Image(changed, image.affine), place / "corrected" / path.name)
    files = segmend.export_dicom(
        labels=place / "corrected",
        data=place / "data",
        dicom=place / "dicom",
        out=place / "objects",
        algorithm="semiautomatic",
    )
    assert [file.name for file in files] == ["P1_20240131_s3.dcm"]
    assert pydicom.dcmread(files[0]).SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert pydicom.dcmread(files[0]).NumberOfFrames == 3


def test_series_that_moved_are_found_by_their_uid(place):
    (place / "dicom" / "P1").rename(place / "dicom" / "elsewhere")
    assert main(words(place, place / "objects")) == 0


def test_anonymous_cases_find_their_series(place):
    shutil.rmtree(place / "data")
    given = ["--from", "dicom", "--data", str(place / "dicom"), "--out", str(place / "data"), "--anonymous", "true"]
    assert main(["import", *given]) == 0
    assert main(words(place, place / "objects")) == 0
    patients = {pydicom.dcmread(path).PatientID for path in (place / "objects").iterdir()}
    assert patients == {"P1", "P2"}


def test_predictions_of_a_run(place, own_cache, cpu_only):
    for case in ("P1", "P2"):  # a run that has seen other classes than dataset.json names now
        assert (place / "data" / "imagesTr" / f"{case}_20240131_s3_0000.nii.gz").is_file()
    from functools import partial

    from segmend.networks import UNet

    run = segmend.train(
        data=place / "data",
        network=partial(UNet, width=2, stages=2),
        method="Supervised",
        patch=(8, 8, 4),
        iterations=1,
        out=place / "run",
    )
    segmend.predict(run=run.path, images=place / "data" / "imagesTr", out=place / "predicted", probabilities=True)
    description = json.loads((place / "data" / "dataset.json").read_text())
    description["labels"] = {"background": 0, "foreground": 1}
    (place / "data" / "dataset.json").write_text(json.dumps(description))
    given = words(place, place / "objects", "--run", str(place / "run"))
    given[given.index("--labels") + 1] = str(place / "predicted")
    assert main(given) == 0
    names = [each.SegmentLabel for each in pydicom.dcmread(place / "objects" / "P1_20240131_s3.dcm").SegmentSequence]
    assert names == ["liver", "kidney"]


class TestRefusals:
    def export(self, place, **options):
        given = {"labels": place / "data" / "labelsTr", "data": place / "data", "dicom": place / "dicom"} | options
        return segmend.export_dicom(out=place / "objects", **given)

    def test_a_label_on_another_grid(self, place):
        path = place / "data" / "labelsTr" / "P1_20240131_s3.nii.gz"
        nibabel.save(nibabel.Nifti1Image(LABELS["P1"].astype(np.uint8), np.eye(4)), path)
        with raises("mismatch", path, match="does not lie on its series"):
            self.export(place)
        assert not (place / "objects").exists()

    def test_a_value_without_a_class(self, place):
        path = place / "data" / "labelsTr" / "P1_20240131_s3.nii.gz"
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.full(SHAPE, 9, np.uint8), image.affine), path)
        with raises("unknown-name", path, match="the value 9, which is no class"):
            self.export(place)

    def test_a_label_of_no_case(self, place):
        path = place / "data" / "labelsTr" / "P1_20240131_s3.nii.gz"
        path.rename(path.with_name("P7.nii.gz"))
        with raises("unknown-name", path.with_name("P7.nii.gz"), match=r"of no case in .*dicom\.json"):
            self.export(place)

    def test_a_series_that_is_gone(self, place):
        shutil.rmtree(place / "dicom" / "P2")
        with raises("missing-file", place / "dicom", match="holds no image series .* which is case 'P2_20240131_s3'"):
            self.export(place)

    def test_a_folder_that_was_not_imported(self, place):
        (place / "data" / "dicom.json").unlink()
        with raises("missing-file", place / "data" / "dicom.json", match="'segmend import' has made"):
            self.export(place)

    def test_no_labels(self, place):
        (place / "empty").mkdir()
        with raises("no-data", place / "empty"):
            self.export(place, labels=place / "empty")

    def test_series_without_a_frame_of_reference(self, place):
        for path in (place / "dicom" / "P1").iterdir():
            dataset = pydicom.dcmread(path)
            del dataset.FrameOfReferenceUID
            dataset.save_as(path)
        with raises("missing-value", place / "dicom" / "P1", match="no FrameOfReferenceUID"):
            self.export(place)

    @pytest.mark.parametrize("name", ["modality", "series", "anonymous"])
    def test_options_of_dicom_for_another_layout(self, place, capsys, name):
        given = ["--from", "msd", "--data", str(place / "data"), "--out", str(place / "x"), f"--{name}", "true"]
        assert main(["import", *given]) == 1
        assert f"--{name}: is of DICOM series only, not of 'msd'" in capsys.readouterr().err
