from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
import pytest
from refusals import raises

import segmend
from segmend.cli import main
from segmend.core.case import Split
from segmend.data.check import problems_of_folder
from segmend.data.folder import DataFolder
from segmend.data.image import read_label

LIVER = {"background": 0, "liver": 1}
ORGANS = {"background": 0, "spleen": 1, "liver": 2}


@pytest.fixture
def first(make_folder):
    return make_folder("first", cases=("a", "b"), test_cases=("t",), labels=LIVER)


@pytest.fixture
def second(make_folder):
    table = "case,domain,annotator,quality\na,siemens,eva,expert\n"
    return make_folder("second", cases=("a", "c"), labels=ORGANS, table=table)


def rows(out):
    with (out / "cases.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_classes_of_all_by_the_command_line(first, second, tmp_path, contents, capsys):
    before = contents(first), contents(second)
    out = tmp_path / "merged"
    assert main(["merge", "--data", str(first), str(second), "--out", str(out)]) == 0
    assert (contents(first), contents(second)) == before
    assert problems_of_folder(out) == []
    folder = DataFolder.open(out)
    assert folder.labels == {"background": 0, "liver": 1, "spleen": 2}
    assert [case.name for case in folder.cases] == ["b", "c", "first_a", "second_a", "t"]
    assert {case.name for case in folder.select(Split.TEST)} == {"t"}
    values, _ = read_label(second / "labelsTr" / "c.nii.gz")
    merged, _ = read_label(out / "labelsTr" / "c.nii.gz")
    np.testing.assert_array_equal(merged, np.select([values == 1, values == 2], [2, 1]))
    assert (out / "labelsTr" / "first_a.nii.gz").samefile(first / "labelsTr" / "a.nii.gz")
    assert (out / "imagesTr" / "second_a_0000.nii.gz").samefile(second / "imagesTr" / "a_0000.nii.gz")
    of = rows(out)
    assert {name: row["annotated"] for name, row in of.items()} == {
        "b": "liver",
        "c": "",
        "first_a": "liver",
        "second_a": "",
        "t": "liver",
    }
    assert (of["second_a"]["domain"], of["c"]["domain"], of["b"]["domain"]) == ("second/siemens", "second", "first")
    assert (of["second_a"]["annotator"], of["second_a"]["quality"]) == ("eva", "expert")
    printed = capsys.readouterr().err
    assert "labels linked: 3, written with other values: 2" in printed
    assert "2 cases got a prefix" in printed


def test_classes_need_not_be_shared(make_folder, first, tmp_path):
    spleen = make_folder("spleen", cases=("c",), labels={"background": 0, "spleen": 1})
    out = tmp_path / "merged"
    folder = segmend.merge(data=[first, spleen], out=out)
    assert folder.labels == {"background": 0, "liver": 1, "spleen": 2}
    assert rows(out)["c"]["annotated"] == "spleen"
    assert set(np.unique(read_label(out / "labelsTr" / "c.nii.gz")[0])) == {0, 2}


def test_what_is_annotated_survives_a_second_merge(make_folder, first, tmp_path):
    spleen = make_folder("spleen", cases=("c",), labels={"background": 0, "spleen": 1})
    kidney = make_folder("kidney", cases=("d",), labels={"background": 0, "kidney": 1})
    segmend.merge(data=[first, spleen], out=tmp_path / "two")
    segmend.merge(data=[tmp_path / "two", kidney], out=tmp_path / "three")
    found = {name: row["annotated"] for name, row in rows(tmp_path / "three").items()}
    assert found == {"a": "liver", "b": "liver", "t": "liver", "c": "spleen", "d": "kidney"}


def test_unlabelled_cases_have_no_annotated_classes(make_folder, second, tmp_path):
    first = make_folder("first", cases=("a", "b"), unlabelled=("b",), labels=LIVER)
    segmend.merge(data=[first, second], out=tmp_path / "merged")
    assert (rows(tmp_path / "merged")["b"]["quality"], rows(tmp_path / "merged")["b"]["annotated"]) == ("none", "")


def test_the_ignored_value_stays_above_the_classes(make_folder, tmp_path, write_scan):
    first = make_folder("first", cases=("a",), labels=LIVER | {"ignore": 2})
    second = make_folder("second", cases=("b",), labels={"background": 0, "spleen": 7})
    folder = segmend.merge(data=[first, second], out=tmp_path / "merged")
    assert (folder.labels, folder.ignore) == ({"background": 0, "liver": 1, "spleen": 2}, 3)
    before, _ = read_label(first / "labelsTr" / "a.nii.gz")
    after, _ = read_label(tmp_path / "merged" / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(after == 3, before == 2)
    np.testing.assert_array_equal(after == 1, before == 1)


def test_channels_in_another_order(make_folder, tmp_path):
    first = make_folder("first", cases=("a",), channels=("T1", "T2"))
    second = make_folder("second", cases=("b",), channels=("T2", "T1"))
    folder = segmend.merge(data=[first, second], out=tmp_path / "merged")
    images = {case.name: case.images for case in folder.cases}
    assert images["b"][0].samefile(second / "imagesTr" / "b_0001.nii.gz")
    assert images["b"][1].samefile(second / "imagesTr" / "b_0000.nii.gz")


def test_labels_of_further_raters(make_folder, tmp_path):
    first = make_folder("first", cases=("a",), labels=LIVER)
    second = make_folder("second", cases=("b",), labels=ORGANS, raters=("eva",))
    segmend.merge(data=[first, second], out=tmp_path / "merged")
    before = nibabel.load(second / "labelsTr_eva" / "b.nii.gz").get_fdata()
    after = nibabel.load(tmp_path / "merged" / "labelsTr_eva" / "b.nii.gz").get_fdata()
    np.testing.assert_array_equal(after == 2, before == 1)


def test_pictures(make_folder, tmp_path):
    first = make_folder("first", cases=("a",), shape=(20, 18), ending=".png", labels=LIVER)
    second = make_folder("second", cases=("b",), shape=(20, 18), ending=".png", labels=ORGANS)
    segmend.merge(data=[first, second], out=tmp_path / "merged")
    assert problems_of_folder(tmp_path / "merged") == []


class TestRefusals:
    def merged(self, *data):
        return segmend.merge(data=list(data), out=data[0].parent / "merged")

    def test_one_data_set(self, first):
        with raises("missing-value", "data"):
            self.merged(first)

    def test_the_same_twice(self, first):
        with raises("duplicate", first):
            self.merged(first, first)

    def test_other_channels(self, first, make_folder):
        other = make_folder("other", channels=("CT",), labels={"background": 0, "spleen": 1})
        with raises("mismatch", other / "dataset.json", "channels CT.*MR, and they have no class in common"):
            self.merged(first, other)

    def test_a_class_in_other_capitals(self, first, make_folder):
        other = make_folder("other", labels={"background": 0, "Liver": 1})
        with raises("mismatch", other / "dataset.json", "'Liver', but .* writes 'liver'"):
            self.merged(first, other)

    @pytest.mark.parametrize("of", ["one", "both"])
    def test_regions(self, first, second, of):
        for root in (second,) if of == "one" else (first, second):
            content = json.loads((root / "dataset.json").read_text())
            content["labels"] = {"background": 0, "whole": [1, 2], "spleen": 1}
            (root / "dataset.json").write_text(json.dumps(content))
        with raises("mismatch" if of == "one" else "unsupported", "dataset.json", "regions"):
            self.merged(first, second)

    def test_files_of_another_kind(self, first, make_folder):
        other = make_folder("other", ending=".mha")
        with raises("mismatch", other):
            self.merged(first, other)

    def test_a_value_that_would_become_another_class(self, first, second, write_scan):
        """Value 2 of the first data set has no name there, and would be taken for the spleen of the second."""
        path = first / "labelsTr" / "a.nii.gz"
        values, grid = read_label(path)
        write_scan(path, (values * 2).astype(np.uint8), grid.affine)
        with raises("invalid-value", path):
            self.merged(first, second)
        assert not (first.parent / "merged").exists()

    def test_two_and_three_dimensions(self, first, make_folder):
        flat = make_folder("flat", cases=("f",), shape=(20, 18), affine=np.eye(4))
        with raises("mismatch", flat / "imagesTr" / "f_0000.nii.gz"):
            self.merged(first, flat)

    def test_too_many_classes(self, first, make_folder):
        many = make_folder("many", cases=("m",), labels={"background": 0} | {f"rib {n}": n for n in range(1, 254)})
        with raises("unsupported", "data", "254 classes together"):
            self.merged(first, many)

    def test_an_annotator_in_other_capitals(self, make_folder):
        one, other = make_folder("one", raters=("eva",)), make_folder("other", raters=("Eva",))
        with raises("mismatch", other):
            self.merged(one, other)
