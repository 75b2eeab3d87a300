from __future__ import annotations

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

import segmend
from segmend.audit.arrays import find_label_issues
from segmend.core.errors import InputError

CASES = ("a", "b", "c", "d", "e", "f")
SPACING = (1.0, 1.0, 1.5)


def likely(truth: np.ndarray, classes: int) -> np.ndarray:
    """What a good model says of a true label: blurred maps that sum to 1."""
    maps = np.stack([gaussian_filter((truth == index).astype(np.float32), 1) for index in range(classes)]) + 0.01
    return maps / maps.sum(0)


@pytest.fixture
def cohort(make_folder):
    """A data folder of two classes, of which one label lacks the half of its organ; its labels; and probabilities."""
    root = make_folder("data", cases=CASES, labels={"background": 0, "organ": 1, "vessel": 2})
    files = [root / "labelsTr" / f"{case}.nii.gz" for case in CASES]
    truth = [np.asarray(nibabel.load(file).dataobj).astype(np.uint8) for file in files]
    labels = [label.copy() for label in truth]
    organ = np.argwhere(labels[2] == 1)
    middle = int(np.median(organ[:, 0]))
    labels[2][:middle][labels[2][:middle] == 1] = 0
    image = nibabel.load(files[2])
    nibabel.save(nibabel.Nifti1Image(labels[2], image.affine, image.header), files[2])
    return root, labels, [likely(each, 3) for each in truth]


def test_gives_the_numbers_of_the_command(cohort, tmp_path):
    root, labels, probabilities = cohort
    (tmp_path / "npz").mkdir()
    for case, of_case in zip(CASES, probabilities, strict=True):
        np.savez(tmp_path / "npz" / f"{case}.npz", probabilities=of_case.transpose(0, 3, 2, 1).astype(np.float32))
    (tmp_path / "npz" / "plans.json").write_text('{"image_reader_writer": "SimpleITKIO"}')
    by_command = segmend.audit(data=root, out=tmp_path / "audit", probabilities=tmp_path / "npz")
    found = find_label_issues(
        labels, probabilities, SPACING, names=CASES, class_names=("background", "organ", "vessel")
    )
    same = [column for column in found if column in by_command and column not in ("rank",)]
    order = ["case", "label"]
    assert {"score", "expected_dice", "kind", "correction_mm", "flagged_voxels", "proposal_score"} <= set(same)
    pd.testing.assert_frame_equal(
        found[same].sort_values(order, ignore_index=True),
        by_command[same].sort_values(order, ignore_index=True),
        check_dtype=False,
        rtol=1e-5,
    )


def test_the_wrong_label_comes_first(cohort):
    _, labels, probabilities = cohort
    found = segmend.audit.find_label_issues(iter(labels), iter(probabilities), SPACING, names=CASES)
    assert (found.case[0], found.label[0]) == ("c", "1")
    assert found.score[0] < 0.5 < found.score[1]


def test_pictures_without_names_or_spacing():
    truth = np.zeros((24, 24), np.int64)
    truth[8:16, 8:16] = 1
    found = find_label_issues([truth] * 3, [likely(truth, 2)] * 3)
    assert sorted(found.case) == ["0", "1", "2"]
    assert (found.score > 0.5).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": []}, r"^probabilities: must be as many as labels and at least one, got 0 for 2 labels"),
        ({"spacing": (1, 1, 1)}, r"^spacing: must have 2 positive values, got \(1, 1, 1\)"),
        ({"spacing": (1, -1)}, r"^spacing: must have 2 positive values"),
        ({"names": ["a"]}, r"^names: must have one entry per label, 2, got 1"),
        ({"names": ["a", "a"]}, r"^names: must differ"),
        ({"labels": [np.full((8, 8), 3)] * 2}, r"^case '0': has label values \[3\]"),
        ({"labels": [np.zeros((8, 8))] * 2}, r"^case '0': has a label of shape \(8, 8\) and type float64"),
        (
            {"probabilities": [np.ones((2, 8, 9)) / 2] * 2},
            r"has probabilities of shape \(2, 8, 9\), expected \(2, 8, 8\)",
        ),
        ({"probabilities": [np.ones((2, 8, 8))] * 2}, r"^case '0': has probabilities that do not sum to 1"),
    ],
)
def test_what_does_not_fit_is_an_error(change, message):
    given = {"labels": [np.zeros((8, 8), np.uint8)] * 2, "probabilities": [np.full((2, 8, 8), 0.5)] * 2}
    with pytest.raises(InputError, match=message):
        find_label_issues(**given | change)
