from __future__ import annotations

import unicodedata
from pathlib import Path

import nibabel
import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.metrics.pairs import Pair, pair_files


def write(path: Path, shape: tuple[int, ...] = (3, 4, 5), shift: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, dtype=np.uint8), affine), path)
    return path


@pytest.fixture
def folders(tmp_path):
    for folder in ("predictions", "references"):
        (tmp_path / folder).mkdir()
    return tmp_path / "predictions", tmp_path / "references"


def test_files_are_matched_by_case_whatever_their_ending(folders):
    predictions, references = folders
    for name in ("b.nii.gz", "a.nii", "c.nii"):
        write(predictions / name)
    for name in ("a.nii.gz", "b.nii.gz"):
        write(references / name)
    (references / "notes.txt").write_text("no label")
    pairs, extra = pair_files(predictions, references)
    assert pairs == [
        Pair("a", predictions / "a.nii", references / "a.nii.gz"),
        Pair("b", predictions / "b.nii.gz", references / "b.nii.gz"),
    ]
    assert extra == ["c"]


def test_missing_predictions_are_named(folders):
    predictions, references = folders
    write(predictions / "a.nii")
    for name in "abcdef":
        write(references / f"{name}.nii")
    with pytest.raises(InputError, match=r"predictions: holds no prediction for b, c, d and 2 more\. Predict every"):
        pair_files(predictions, references)


def test_unusable_folders_are_named(folders, tmp_path):
    predictions, references = folders
    write(predictions / "a.nii")
    with pytest.raises(InputError, match="references: holds no label files"):
        pair_files(predictions, references)
    with pytest.raises(InputError, match="nowhere: is not a folder"):
        pair_files(tmp_path / "nowhere", references)


def test_two_files_of_one_case_are_refused(folders):
    predictions, references = folders
    for path in (predictions / "a.nii", references / "a.nii", references / "a.nii.gz"):
        write(path)
    with pytest.raises(InputError, match=r"a\.nii\.gz: is of the same case as a\.nii\. Keep one"):
        pair_files(predictions, references)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"shape": (3, 4, 6)}, r"has shape \(3, 4, 6\), but .*references/a\.nii has \(3, 4, 5\)"),
        ({"shape": (3, 4)}, r"has shape \(3, 4\)"),
        ({"shift": 0.5}, r"lies elsewhere in space than .*references/a\.nii: their affines differ"),
    ],
)
def test_grids_must_be_the_same(folders, change, problem):
    predictions, references = folders
    write(references / "a.nii")
    write(predictions / "a.nii", **change)
    with pytest.raises(InputError, match=r"predictions/a\.nii: " + problem):
        pair_files(predictions, references)


def test_predictions_named_like_scans_are_explained(folders):
    predictions, references = folders
    write(predictions / "a_0000.nii")
    write(references / "a.nii")
    with pytest.raises(
        InputError, match=r"holds no prediction for a\. Files of labels are named CASE, without the _0000"
    ):
        pair_files(predictions, references)


def test_names_are_compared_in_one_unicode_form(folders):
    predictions, references = folders
    write(predictions / f"{unicodedata.normalize('NFC', 'Müller')}.nii.gz")
    write(references / f"{unicodedata.normalize('NFD', 'Müller')}.nii.gz")
    ((pair,), extra) = pair_files(predictions, references)
    assert pair.case == "Müller"
    assert not extra


def test_files_that_lead_nowhere_are_named(folders):
    predictions, references = folders
    write(predictions / "a.nii.gz")
    write(references / "a.nii.gz")
    (predictions / "b.nii.gz").symlink_to("gone")
    with pytest.raises(InputError, match=r"b\.nii\.gz: does not exist; it is a link to gone, which leads nowhere"):
        pair_files(predictions, references)


def test_maps_in_a_sub_folder_of_predictions_are_left_alone(folders):
    predictions, references = folders
    write(predictions / "a.nii.gz")
    write(references / "a.nii.gz")
    write(predictions / "probabilities" / "a_organ.nii.gz")
    assert len(pair_files(predictions, references)[0]) == 1
