"""segmend correct --decisions: single regions, new label files, and labels that people confirmed."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from hand_made_audits import Region, hand_made_audit
from refusals import raises

import segmend
from segmend.audit.corrections import read_corrections
from segmend.cli import main
from segmend.core.case import Quality
from segmend.data.folder import DataFolder
from segmend.data.image import read_image, read_label

LABELS = {"background": 0, "organ": 3, "vessel": 7}
SHAPE = (16, 16, 4)
TABLE = (
    "case,split,quality,domain,annotator\na,train,noisy,centre 1,eva\nb,train,noisy,,\nc,train,expert,,\nt,test,,,\n"
)


def box(*sides) -> tuple[slice, ...]:
    return tuple(slice(*side) for side in sides)


GIVEN = np.zeros(SHAPE, np.uint8)
GIVEN[2:9, 2:8] = 1
GIVEN[9:13, 2:8] = 2
MISSING = box((2, 6), (8, 10), (0, 4))  # an annotation that the organ lacks
EXTRA = box((2, 4), (2, 8), (0, 4))  # one that it has too much
SWAP = box((9, 11), (2, 8), (0, 4))  # voxels of the vessel that should be the organ's
LOOSE = box((4, 8), (1, 2), (0, 4))  # more of the organ, in no region
PROPOSED = GIVEN.copy()
PROPOSED[MISSING], PROPOSED[EXTRA], PROPOSED[SWAP], PROPOSED[LOOSE] = 1, 0, 1, 1


def mask_of(where) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[where] = True
    return mask


REGIONS = (
    ("organ", "background", "organ", MISSING),
    ("organ", "organ", "background", EXTRA),
    ("organ", "vessel", "organ", SWAP),
)


@pytest.fixture
def data(make_folder, write_scan):
    root = make_folder(cases=("a", "b", "c"), test_cases=("t",), labels=LABELS, shape=SHAPE, table=TABLE)
    values = np.array(list(LABELS.values()), np.uint8)
    for case in "abc":
        path = root / f"labelsTr/{case}.nii.gz"
        write_scan(path, values[GIVEN], read_label(path)[1].affine)
    return root


@pytest.fixture
def audit(data, tmp_path):
    """Regions 2, 3 and 4 of each case, and a few changed voxels without a region."""
    regions = [
        Region(case, number, label, given, suggested, mask_of(where))
        for case in "abc"
        for number, (label, given, suggested, where) in enumerate(REGIONS, start=2)
    ]
    return hand_made_audit(data, tmp_path / "audit", dict.fromkeys("abc", PROPOSED), regions=regions)


@pytest.fixture
def call(data, audit, tmp_path, capsys):
    def run(rows, *words, status=0, header="case,label,decision,audit,region,reader,comment,time,file"):
        (tmp_path / "decisions.csv").write_text("\n".join([header, *rows]) + "\n")
        place = ["--data", data, "--audit", audit.root, "--out", tmp_path / "out"]
        arguments = ["correct", *place, "--decisions", tmp_path / "decisions.csv", *words]
        assert main([str(word) for word in arguments]) == status
        assert (tmp_path / "out").exists() == (status == 0)
        return " ".join(capsys.readouterr().err.split())

    return run


def indices(root, case):
    return DataFolder.open(root).to_indices(read_label(root / f"labelsTr/{case}.nii.gz")[0])


def expected(*changes) -> np.ndarray:
    """The given label with the proposal in some places."""
    label = GIVEN.copy()
    for where in changes:
        label[where] = PROPOSED[where]
    return label


class TestRegions:
    def test_an_accepted_region_alone_changes_only_itself(self, call, tmp_path):
        call(["a,organ,accept,,2,eva,an island,2030-01-01,"])
        np.testing.assert_array_equal(indices(tmp_path / "out", "a"), expected(MISSING))
        (row,) = read_corrections(tmp_path / "out")
        assert (row.label, row.reason, row.proposal, row.reader, row.comment) == (
            *("organ", "accepted", "region 2", "eva"),
            "an island",
        )

    @pytest.mark.parametrize("said", ["reject", "unsure"])
    def test_an_accepted_label_changes_but_for_regions_that_are_not(self, call, tmp_path, said):
        call(["a,organ,accept,,,,,,", f"a,organ,{said},,3,,,,", f"a,organ,{said},,4,,,,"])
        label = indices(tmp_path / "out", "a")
        np.testing.assert_array_equal(label, expected(MISSING, LOOSE))

    def test_a_rejected_label_keeps_all_but_an_accepted_region(self, call, tmp_path):
        call(["a,organ,reject,,,,,,", "a,organ,accept,,2,,,,"])
        np.testing.assert_array_equal(indices(tmp_path / "out", "a"), expected(MISSING))

    def test_an_accepted_swap_changes_both_classes_whatever_was_said_of_the_other(self, call, tmp_path):
        call(["a,vessel,reject,,,,,,", "a,organ,accept,,4,,,,"])
        np.testing.assert_array_equal(indices(tmp_path / "out", "a"), expected(SWAP))
        rows = {row.label: row.reason for row in read_corrections(tmp_path / "out")}
        assert rows == {"organ": "accepted", "vessel": "neighbour"}

    @pytest.mark.parametrize("name", ["", "vessel", "organ"])
    def test_a_swap_may_be_named_by_either_class(self, call, tmp_path, name):
        call([f"a,{name},accept,,4,,,,"])
        np.testing.assert_array_equal(indices(tmp_path / "out", "a"), expected(SWAP))

    def test_a_label_of_which_a_region_was_looked_at_is_not_followed_by_its_score(self, call, tmp_path):
        call(["a,organ,reject,,2,,,,"], "--minimum_score", "0.1")
        label = indices(tmp_path / "out", "a")
        np.testing.assert_array_equal(label, expected(SWAP))  # by the score of the vessel
        assert (indices(tmp_path / "out", "b") != GIVEN).any()

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("a,organ,accept,,9,,,,", "case 'a', label 'organ' has no region 9"),
            ("a,organ,accept,,one,,,,", "region is 'one', which is not a number"),
            ("x,organ,accept,,2,,,,", "case 'x', label 'organ' has no region 2"),
            ("c,organ,accept,,2,,,,", "accepts a change of the expert case 'c'. Add --change_expert true"),
        ],
    )
    def test_regions_that_cannot_be_followed(self, call, row, message):
        assert message in call([row], status=1)

    def test_a_region_decided_twice(self, call):
        assert "region 2 of case 'a' is decided twice" in call(
            ["a,organ,accept,,2,,,,", "a,organ,reject,,2,,,,"], status=1
        )

    def test_a_damaged_table_of_regions(self, audit, call):
        audit.regions.write_text("case,region,label,given,suggested\na,two,organ,organ,background\n")
        assert "regions.csv: cannot be read: it is damaged" in call(["a,organ,accept,,2,,,,"], status=1)

    def test_a_map_of_issues_on_another_grid(self, audit, call, write_scan):
        write_scan(audit.issues("a", ".nii.gz"), np.zeros((4, 4, 4), np.uint8))
        assert "issues/a.nii.gz: does not lie over its label" in call(["a,organ,accept,,2,,,,"], status=1)


class TestReplacement:
    @pytest.fixture
    def drawn(self, data, audit, write_scan):
        """A label as another program saves it, in the audit's folder."""
        label = np.zeros(SHAPE, np.uint8)
        label[3:7, 3:7] = 3
        folder = audit.root / "review" / "labels"
        folder.mkdir(parents=True)
        write_scan(folder / "a.nii.gz", label, read_label(data / "labelsTr/a.nii.gz")[1].affine)
        return folder / "a.nii.gz"

    @pytest.mark.parametrize("absolute", [True, False])
    def test_the_file_becomes_the_whole_label(self, data, drawn, call, tmp_path, absolute):
        file = nibabel.load(data / "labelsTr/a.nii.gz")
        name = str(drawn) if absolute else "review/labels/a.nii.gz"
        call([f"a,,replace,,,eva,by hand,,{name}"])
        label, _ = read_label(tmp_path / "out/labelsTr/a.nii.gz")
        np.testing.assert_array_equal(label, read_label(drawn)[0])
        assert nibabel.load(tmp_path / "out/labelsTr/a.nii.gz").header["descrip"] == file.header["descrip"]
        rows = read_corrections(tmp_path / "out")
        assert {row.label: (row.reason, row.proposal, row.reader, row.comment) for row in rows} == dict.fromkeys(
            ("organ", "vessel"), ("replaced", "a.nii.gz", "eva", "by hand")
        )
        assert all(row.expected_dice_after for row in rows)

    def test_it_takes_the_place_of_what_was_accepted(self, drawn, call, tmp_path):
        call([f"a,,replace,,,,,,{drawn}", "a,organ,accept,,,,,,", "a,organ,accept,,2,,,,"])
        np.testing.assert_array_equal(read_label(tmp_path / "out/labelsTr/a.nii.gz")[0], read_label(drawn)[0])

    def test_its_voxels_are_soft_labels_as_they_are_drawn(self, drawn, call, tmp_path):
        call([f"a,,replace,,,,,,{drawn}"], "--soft", "true")
        organ = read_image(tmp_path / "out/soft/a_organ.nii.gz")[0][0]
        np.testing.assert_array_equal(organ, read_label(drawn)[0] == 3)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("a,,replace,,,,,,", "line 2: replaces a label, but names no file"),
            ("a,,replace,,,,,,none.nii.gz", "none.nii.gz, which does not exist"),
            ("a,organ,replace,,,,,,review/labels/a.nii.gz", "names one of its classes or regions"),
            ("x,,replace,,,,,,review/labels/a.nii.gz", "case 'x' was not audited"),
            ("c,,replace,,,,,,review/labels/a.nii.gz", "replaces the label of the expert case 'c'"),
        ],
    )
    def test_rows_that_cannot_be_followed(self, drawn, call, row, message):
        assert message in call([row], status=1)

    def test_files_that_are_no_label_of_the_case(self, data, drawn, call, write_scan):
        write_scan(drawn, np.zeros(SHAPE, np.uint8), np.diag([2.0, 1, 1, 1]))
        row = "a,,replace,,,,,,review/labels/a.nii.gz"
        assert "a.nii.gz: does not lie over its scan" in call([row], status=1)
        write_scan(drawn, np.full(SHAPE, 5, np.uint8), read_label(data / "labelsTr/a.nii.gz")[1].affine)
        assert "holds values that dataset.json does not name: 5" in call([row], status=1)
        drawn.write_text("no image")
        assert "a.nii.gz" in call([row], status=1)


class TestConfirmed:
    def test_labels_of_which_people_were_sure_are_expert(self, data, call, tmp_path):
        shown = call(["a,organ,accept,,,,,,", "a,vessel,reject,,,,,,", "b,organ,reject,,,,,,"])
        assert "1 cases are expert: all labels confirmed" in shown
        before, after = DataFolder.open(data), DataFolder.open(tmp_path / "out")
        assert [case.name for case in after.select(quality=Quality.EXPERT)] == ["a", "c", "t"]
        for one, other in zip(before.cases, after.cases, strict=True):
            assert (one.split, one.domain, one.annotator) == (other.split, other.domain, other.annotator)

    def test_a_confirmed_label_need_not_change(self, call, tmp_path):
        call(["a,organ,reject,,,,,,", "a,vessel,reject,,,,,,"])
        assert DataFolder.open(tmp_path / "out").cases[0].quality is Quality.EXPERT
        assert read_corrections(tmp_path / "out") == []

    @pytest.mark.parametrize(
        ("rows", "expert"),
        [
            (["a,organ,accept,,,,,,"], False),
            (["a,organ,accept,,,,,,", "a,vessel,unsure,,,,,,"], False),
            (["a,organ,accept,,,,,,", "a,vessel,reject,,,,,,", "a,organ,unsure,,2,,,,"], False),
            (["a,organ,accept,,,,,,", "a,vessel,reject,,,,,,", "a,organ,reject,,2,,,,"], True),
            (["a,organ,accept,,2,,,,", "a,organ,accept,,3,,,,", "a,organ,accept,,4,,,,"], False),
        ],
    )
    def test_of_all_classes_and_of_every_region_that_was_looked_at(self, call, tmp_path, rows, expert):
        call(rows)
        (case, *_) = DataFolder.open(tmp_path / "out").cases
        assert (case.quality is Quality.EXPERT) == expert

    def test_a_new_label_is_confirmed(self, data, call, tmp_path):
        call([f"a,,replace,,,,,,{data / 'labelsTr/b.nii.gz'}"])
        assert DataFolder.open(tmp_path / "out").cases[0].quality is Quality.EXPERT

    def test_unless_told_otherwise(self, call, tmp_path):
        call(["a,organ,reject,,,,,,", "a,vessel,reject,,,,,,"], "--confirmed_expert", "false")
        assert DataFolder.open(tmp_path / "out").cases[0].quality is Quality.NOISY

    def test_a_label_that_has_changed_since_is_not_confirmed(self, data, call, write_scan):
        path = data / "labelsTr/a.nii.gz"
        write_scan(path, np.zeros(SHAPE, np.uint8), read_label(path)[1].affine)
        assert "is not the label that was audited" in call(["a,organ,reject,,,,,,", "a,vessel,reject,,,,,,"], status=1)


def test_of_partly_annotated_cases_the_annotated_classes_count(make_folder, tmp_path):
    table = "case,split,quality,annotated\na,train,noisy,organ\nb,train,noisy,\n"
    data = make_folder(cases=("a", "b"), labels=LABELS, shape=SHAPE, table=table)
    audit = hand_made_audit(data, tmp_path / "audit", {})
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("case,label,decision\na,organ,reject\nb,organ,reject\n")
    segmend.correct(data, audit.root, out=tmp_path / "out", decisions=decisions)
    first, second = DataFolder.open(tmp_path / "out").cases
    assert (first.quality, first.annotated) == (Quality.EXPERT, ("organ",))
    assert (second.quality, second.annotated) == (Quality.NOISY, None)
    numbers = segmend.correct(data, audit.root, preview=True, decisions=decisions)
    assert numbers.empty
    assert json.loads(audit.preview.with_suffix(".json").read_text())["confirmed_cases"] == ["a"]


class TestOverlappingRegions:
    """Regions of the data as classes: each has its own proposals, issues and numbers."""

    @pytest.fixture
    def overlapping(self, make_folder, write_scan, tmp_path):
        """A core inside a whole; the whole lacks a layer, and part of the core is none."""
        data = make_folder(cases=("a",), labels={"background": 0, "a": 1, "b": 2}, shape=SHAPE)
        description = json.loads((data / "dataset.json").read_text())
        description["labels"] = {"background": 0, "whole": [1, 2], "core": 2}
        (data / "dataset.json").write_text(json.dumps(description))
        label = np.zeros(SHAPE, np.uint8)
        label[2:10, 2:10], label[4:8, 4:8] = 1, 2
        write_scan(data / "labelsTr/a.nii.gz", label, read_label(data / "labelsTr/a.nii.gz")[1].affine)
        layer, part = box((10, 11), (2, 10), (0, 4)), box((4, 5), (4, 8), (0, 4))
        proposed = label.copy()
        proposed[layer], proposed[part] = 1, 1
        regions = [
            Region("a", 2, "whole", "background", "whole", mask_of(layer)),
            Region("a", 2, "core", "core", "background", mask_of(part)),
        ]
        audit = hand_made_audit(data, tmp_path / "audit", {"a": proposed}, regions=regions)
        return data, audit, label, layer, part

    @pytest.mark.parametrize(
        ("rows", "changed"),
        [
            ("a,whole,accept,2\n", (True, False)),
            ("a,core,accept,2\n", (False, True)),
            ("a,whole,accept,\na,core,reject,\n", (True, False)),
            ("a,whole,accept,\na,whole,reject,2\na,core,accept,\n", (False, True)),
            ("a,whole,reject,\na,whole,accept,2\na,core,unsure,\n", (True, False)),
        ],
    )
    def test_each_is_decided_about_by_itself(self, overlapping, tmp_path, rows, changed):
        data, audit, label, layer, part = overlapping
        (tmp_path / "d.csv").write_text("case,label,decision,region\n" + rows)
        table = segmend.correct(data, audit.root, out=tmp_path / "out", decisions=tmp_path / "d.csv")
        wanted = label.copy()
        if changed[0]:
            wanted[layer] = 1
        if changed[1]:
            wanted[part] = 1
        np.testing.assert_array_equal(read_label(tmp_path / "out/labelsTr/a.nii.gz")[0], wanted)
        assert set(table["label"]) == {name for name, done in zip(("whole", "core"), changed, strict=True) if done}
        assert (pd.to_numeric(table["expected_dice_after"]) > pd.to_numeric(table["expected_dice_before"])).all()

    def test_a_number_of_several_needs_a_label(self, overlapping, tmp_path):
        data, audit, *_ = overlapping
        (tmp_path / "d.csv").write_text("case,label,decision,region\na,,accept,2\n")
        with raises("missing-value", f"{tmp_path / 'd.csv'} line 2", match="is a region of several labels"):
            segmend.correct(data, audit.root, out=tmp_path / "out", decisions=tmp_path / "d.csv")
