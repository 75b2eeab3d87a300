from __future__ import annotations

import nibabel
import numpy as np
import pytest
from refusals import raises

from segmend.data.image import read_grid, read_label
from segmend.review.replacement import take_label


@pytest.fixture
def made(make_review_audit):
    return make_review_audit("a")


@pytest.fixture
def new(made, tmp_path):
    """A label that was drawn elsewhere, with one voxel more."""
    label = made.arrays("a")[1]
    label[0, 0, 0] = 4
    made.write(tmp_path / "drawn.nii.gz", label)
    return tmp_path / "drawn.nii.gz"


def take(made, file):
    scans = made.review().scans
    return take_label(scans, scans.case("a"), file)


def test_a_copy_is_kept_and_the_data_stay(made, new, contents):
    before = contents(made.data)
    name, changed = take(made, new)
    assert changed == 1
    copy = made.place.root / name
    assert copy.parent == made.place.root / "review" / "labels"
    assert (read_label(copy)[0] == read_label(new)[0]).all()
    assert read_grid(copy).matches(read_grid(made.data / "labelsTr" / "a.nii.gz"))
    assert contents(made.data) == before


def test_each_content_has_a_file_of_its_own(made, new):
    first, _ = take(made, new)
    assert take(made, new)[0] == first
    label, _ = read_label(new)
    label[0, 0, 1] = 4
    made.write(new, label)
    second, changed = take(made, new)
    assert (second != first, changed) == (True, 2)
    assert (made.place.root / first).is_file()


def test_another_format_becomes_that_of_the_folder(made, new, write_scan, tmp_path):
    label, _ = read_label(new)
    name, changed = take(made, write_scan(tmp_path / "drawn.nrrd", label.astype(np.uint8), made.affine))
    assert (name.endswith(".nii.gz"), changed) == (True, 1)


@pytest.mark.parametrize("value", [2, 5, 255])
def test_values_that_are_no_class(made, new, value):
    label, _ = read_label(new)
    label[3, 3, 3] = value
    made.write(new, label)
    with raises("invalid-value", new):
        take(made, new)
    assert not (made.place.root / "review").exists()


def test_fractions(made, new):
    made.write(new, read_label(new)[0] * np.float32(0.5))
    with raises("invalid-value", new):
        take(made, new)


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_another_place(made, new, shift):
    affine = made.affine.copy()
    affine[2, 3] += shift
    nibabel.save(nibabel.Nifti1Image(read_label(new)[0], affine), new)
    with raises("mismatch", new):
        take(made, new)


def test_no_file(made, tmp_path):
    with raises("missing-file"):
        take(made, tmp_path / "none.nii.gz")


@pytest.mark.parametrize("name", ["drawn.txt", "drawn", ".hidden.nii.gz"])
def test_no_image(made, tmp_path, name):
    (tmp_path / name).write_text("x")
    with raises("unsupported"):
        take(made, tmp_path / name)


def test_damaged(made, new):
    new.write_bytes(new.read_bytes()[:-20])
    with raises("damaged", new):
        take(made, new)


def test_a_class_that_is_not_annotated_in_the_case(made, new):
    (made.data / "cases.csv").write_text("case,annotated\na,organ\n")
    label = made.arrays("a")[1]
    label[label == 4] = 0
    made.write(made.data / "labelsTr" / "a.nii.gz", label)
    made.rows = made.rows[:1]
    made.finish()
    with raises("mismatch", new):
        take(made, new)
