from __future__ import annotations

import shutil

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.data.folder import DataFolder
from segmend.data.state import DataState

TABLE = "case,split,quality,domain,annotator\n{}"


@pytest.fixture
def root(make_folder):
    return make_folder()


def state(root):
    folder = DataFolder.open(root)
    return DataState.of(folder, folder.cases)


def test_survives_a_file(root, tmp_path):
    before = state(root)
    before.write(tmp_path / "data.json")
    assert DataState.read(tmp_path / "data.json") == before
    assert state(root).changes_since(before) == ""


def test_a_copy_of_the_same_contents_is_no_change(root, tmp_path):
    before = state(root)
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    assert state(tmp_path / "copy").changes_since(before) == ""


def test_changes_are_named(root, write_scan):
    before = state(root)
    for case in ("case_1", "case_3"):
        write_scan(root / "labelsTr" / f"{case}.nii.gz", np.zeros((20, 18, 16), np.uint8))
    write_scan(root / "imagesTr" / "case_2_0000.nii.gz", np.zeros((20, 18, 16), np.uint8))
    assert state(root).changes_since(before) == (
        "the label of each of case_1, case_3 has changed; the images of case case_2 has changed"
    )


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("case_1,,expert,,", "the quality of case case_1 has changed"),
        ("case_1,val,,,", "the split of case case_1 has changed"),
        ("case_1,,,,ann", "the annotator of case case_1 has changed"),
        ("case_1,,none,,", "the label of case case_1 has changed; the quality of case case_1 has changed"),
        ("case_1,,,hospital,", ""),
    ],
)
def test_what_the_table_says_counts(root, row, changes):
    before = state(root)
    (root / "cases.csv").write_text(TABLE.format(row + "\n"))
    assert state(root).changes_since(before) == changes


def test_cases_come_and_go(root):
    before = state(root)
    (root / "imagesTr" / "case_1_0000.nii.gz").rename(root / "imagesTr" / "case_9_0000.nii.gz")
    (root / "labelsTr" / "case_1.nii.gz").rename(root / "labelsTr" / "case_9.nii.gz")
    assert state(root).changes_since(before) == "case case_9 is new; case case_1 is gone"


def test_classes_count(make_folder):
    one = make_folder("one", labels={"background": 0, "organ": 1, "vessel": 2})
    before = state(one)
    text = (one / "dataset.json").read_text()
    (one / "dataset.json").write_text(text.replace('"organ": 1', '"organ": 2').replace('"vessel": 2', '"vessel": 1'))
    assert state(one).changes_since(before) == "the classes in dataset.json have changed"


@pytest.mark.parametrize("content", ["{}", "[]", '{"classes": {}, "channels": [], "cases": {"a": 1}}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(InputError, match=r"data\.json: is"):
        DataState.read(tmp_path / "data.json")
