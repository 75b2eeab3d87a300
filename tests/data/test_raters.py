from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from refusals import raises

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.raters import choose_raters, drawings_of, find_raters, read_drawing


@pytest.fixture
def folder(make_folder):
    root = make_folder(raters=("ann", "ben"), labels={"background": 0, "organ": 3, "ignore": 9})
    (root / "labelsTr_clean").mkdir()
    (root / "labelsTr_ben" / "case_2.nii.gz").unlink()
    return DataFolder.open(root)


def test_all_raters_but_synthetic_truth(folder):
    assert list(find_raters(folder)) == ["labelsTr", "ann", "ben"]


def test_without_a_main_folder(folder):
    (folder.root / "labelsTr").rename(folder.root / "elsewhere")
    assert list(find_raters(folder)) == ["ann", "ben"]


def test_some_of_them(folder):
    assert list(choose_raters(folder, ["ben", "labelsTr"])) == ["ben", "labelsTr"]
    with pytest.raises(InputError, match=r"there is no rater 'bne'\. Did you mean ben"):
        choose_raters(folder, ["bne"])


@pytest.mark.parametrize("given", [["ben,labelsTr"], ["ben labelsTr"], ["ben", "labelsTr", "ben"], ["ben, labelsTr"]])
def test_some_of_them_as_people_write_them(folder, given):
    assert list(choose_raters(folder, given)) == ["ben", "labelsTr"]


def test_names_come_in_one_unicode_form(folder):
    (folder.root / unicodedata.normalize("NFD", "labelsTr_Müller")).mkdir()
    assert "Müller" in find_raters(folder)
    assert list(choose_raters(folder, [unicodedata.normalize("NFD", "Müller")])) == ["Müller"]


def test_a_label_that_leads_nowhere_is_not_absent(folder):
    path = folder.root / "labelsTr_ben" / "case_2.nii.gz"
    path.symlink_to("gone")
    with pytest.raises(InputError, match="does not exist; it is a link to gone"):
        drawings_of(folder.cases[1], folder, find_raters(folder))


def test_files_of_a_case(folder):
    files = drawings_of(folder.cases[1], folder, find_raters(folder))
    assert {name: str(file.relative_to(folder.root)) for name, file in files.items()} == {
        "labelsTr": "labelsTr/case_2.nii.gz",
        "ann": "labelsTr_ann/case_2.nii.gz",
    }


class TestReading:
    def test_values_become_classes(self, folder, write_scan):
        values = np.array([[[0, 3], [9, 3]]], np.uint8)
        path = write_scan(folder.root / "label.nii.gz", values)
        assert read_drawing(path, folder, read_grid(path)).tolist() == [[[0, 1], [IGNORE, 1]]]

    def test_unknown_values(self, folder, write_scan):
        path = write_scan(folder.root / "label.nii.gz", np.array([[[0, 4], [9, 77]]], np.uint8))
        with pytest.raises(InputError, match=r"label\.nii\.gz: holds values that dataset.json does not name: 4, 77"):
            read_drawing(path, folder, read_grid(path))

    def test_another_grid(self, folder):
        path = folder.root / "labelsTr" / "case_1.nii.gz"
        with raises("mismatch"):
            read_drawing(path, folder, read_grid(path).__class__((3, 3, 3), np.eye(4)))
