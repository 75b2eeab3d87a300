"""Cases in which only some classes are annotated."""

import numpy as np
import pytest
from tests.support.refusals import raises

from segmend.data.cases_table import write_cases
from segmend.data.check import load_case
from segmend.data.folder import DataFolder, read_folder
from segmend.data.state import DataState

LABELS = {"background": 0, "liver": 1, "spleen": 2}


def test_the_table_says_what_is_annotated(make_folder):
    table = "case,annotated\ncase_1,spleen\ncase_2,\ncase_3, Spleen ;liver\n".replace("Spleen", "spleen")
    folder = DataFolder.open(make_folder(labels=LABELS, table=table))
    assert [case.annotated for case in folder.cases] == [("spleen",), None, None]


def test_a_table_of_semicolons_has_the_names_in_quotes(make_folder):
    table = 'case;annotated\ncase_1;"liver;lesion"\ncase_2;\ncase_3;liver\n'
    folder = DataFolder.open(make_folder(labels=LABELS | {"lesion": 3}, table=table))
    assert [case.annotated for case in folder.cases] == [("liver", "lesion"), None, ("liver",)]


def test_unknown_classes_are_refused(make_folder):
    root = make_folder(labels=LABELS, table="case,annotated\ncase_1,lever\n")
    (problem,) = read_folder(root)[1]
    assert problem.code == "unknown-name"
    assert "'lever' is said to be annotated" in str(problem)
    assert "liver" in problem.remedy


def test_the_column_is_written_only_where_it_is_needed(make_folder, tmp_path):
    folder = DataFolder.open(make_folder(labels=LABELS, table="case,annotated\ncase_1,liver\n"))
    write_cases(tmp_path / "some.csv", folder.cases)
    assert (tmp_path / "some.csv").read_text().splitlines()[:2] == [
        "case,split,quality,domain,annotator,annotated",
        "case_1,train,noisy,,,liver",
    ]
    complete = DataFolder.open(make_folder("complete", labels=LABELS))
    write_cases(tmp_path / "all.csv", complete.cases)
    assert (tmp_path / "all.csv").read_text().splitlines()[0] == "case,split,quality,domain,annotator"


def test_a_label_must_not_hold_what_is_not_annotated(make_folder, write_scan):
    root = make_folder(labels=LABELS, table="case,annotated\ncase_1,liver\n")
    folder = DataFolder.open(root)
    with raises("mismatch", "case_1.nii.gz", "voxels of 'spleen'"):
        load_case(folder.cases[0], folder)


def test_a_changed_list_is_a_changed_case(make_folder, tmp_path):
    root = make_folder(labels=LABELS)
    before = DataState.of(*(lambda folder: (folder, folder.cases))(DataFolder.open(root)))
    (root / "cases.csv").write_text("case,annotated\ncase_1,liver\n")
    folder = DataFolder.open(root)
    assert DataState.of(folder, folder.cases).changes_since(before)


@pytest.mark.parametrize("value", [0, 1])
def test_indices_stay_as_they_are(make_folder, value):
    folder = DataFolder.open(make_folder(labels=LABELS, table="case,annotated\ncase_1,liver\n"))
    assert folder.to_indices(np.array([value])).tolist() == [value]
