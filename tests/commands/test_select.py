from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from audit_rows import example_row
from refusals import raises

import segmend
from segmend.audit.folder import AuditFolder
from segmend.audit.rows import LabelRow
from segmend.cli import main
from segmend.commands.correct import correct
from segmend.commands.select import select
from segmend.core.tables import write_rows
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.metrics import dice

CASES = tuple("abcdefgh")
LABELS = {"background": 0, "organ": 3, "vessel": 7}
TABLE = "case,split,quality,domain,annotator\nh,train,expert,,\na,train,noisy,one,ann\nb,train,noisy,two,ann\n"


@pytest.fixture
def data(make_folder):
    return make_folder(cases=CASES, labels=LABELS, table=TABLE)


@pytest.fixture
def audit(data, tmp_path):
    """A finished audit whose proposals cut each object in half; the expected Dice grows with the name of the case."""
    folder, place = DataFolder.open(data), AuditFolder(tmp_path / "audit")
    place.root.mkdir()
    rows = []
    for number, case in enumerate(folder.cases):
        values = folder.to_indices(read_label(case.label)[0])
        values[values.shape[0] // 2 :] = 0
        write_label(place.proposal(case.name, ".nii.gz"), folder.to_values(values), like=case.label)
        write_label(place.issues(case.name, ".nii.gz"), np.zeros(values.shape, np.uint8), like=case.label)
        for label, extra in (("organ", 0.0), ("vessel", 0.05)):
            expected = {"expected_dice": 0.2 + 0.08 * number + extra, "best_dice": 0.9}
            more = {"quality": str(case.quality), "annotator": case.annotator, "proposal": "regions"}
            rows.append(example_row(len(rows) + 1, case.name, label, 0.3, **expected, **more))
    write_rows(place.labels, LabelRow, rows)
    digests = {"labels": {case.name: digest_of(case.label) for case in folder.cases}}
    place.settings.write_text(json.dumps({"data": str(data), **digests}), encoding="utf-8")
    place.summary.write_text('{"remarks": []}', encoding="utf-8")
    return place


def run(*words):
    return main(["select", *map(str, words)])


def dice_to_proposal(data, audit, case, label):
    given, proposed = (
        read_label(path)[0] for path in (data / f"labelsTr/{case}.nii.gz", audit.proposal(case, ".nii.gz"))
    )
    return dice(given == LABELS[label], proposed == LABELS[label])


def fill(path, **columns):
    """Writes columns into the sample."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name, values in columns.items():
        table[name] = [values(row) for row in table.to_dict("records")]
    table.to_csv(path, index=False)


class TestGain:
    def test_on_the_command_line(self, audit, data, contents, capsys):
        before = contents(data)
        assert run("--audit", audit.root, "--budget", 3, "--diversity", 0) == 0
        table = pd.read_csv(audit.root / "selected.csv")
        assert table["case"].tolist() == ["a", "b", "c"]
        assert table["expected_gain"].tolist() == pytest.approx([1.55, 1.39, 1.23])
        assert table["task"].unique().tolist() == ["check"]
        printed = capsys.readouterr().err
        assert "3 of 7 cases" in printed
        assert "a (check): organ: expected Dice 0.20" in printed
        assert contents(data) == before

    def test_expert_and_decided_labels_are_not_chosen(self, audit, tmp_path):
        text = f"case,label,decision,audit\na,organ,accept,{audit.mark}\na,vessel,reject,\nb,organ,unsure,\n"
        (audit.root / "decisions.csv").write_text(text)
        table = select(audit=audit.root, budget=6, out=tmp_path / "out.csv")
        assert sorted(table["case"]) == list("bcdefg")
        (tmp_path / "own.csv").write_text("case,label,decision\ng,,replace\n")
        with raises("missing-value", match=r"own\.csv line 2: .*names no file"):
            select(audit=audit.root, budget=6, decisions=tmp_path / "own.csv")

    def test_unlabelled_cases(self, make_folder, audit, tmp_path):
        header = "case,label,expected_dice,volume,expected_volume,mean_entropy,calibration\n"
        rows = "u,organ,0.1,5,5,0.1,\nv,organ,0.9,5,5,0.1,\na,organ,0.0,5,5,0.1,\n"
        (tmp_path / "quality.csv").write_text(header + rows)
        table = segmend.select(audit=str(audit.root), budget=9, predictions=str(tmp_path)).set_index("case")
        assert table.loc["u", ["task", "expected_gain"]].tolist() == ["annotate", pytest.approx(0.4)]
        assert table.loc["a", "task"] == "check"
        assert "v" in table.index

    def test_data_that_were_moved(self, audit, data, tmp_path, capsys):
        data.rename(tmp_path / "moved")
        select(audit=audit.root, budget=2)
        assert "is not there" in capsys.readouterr().err
        select(audit=audit.root, budget=2, data=tmp_path / "moved")
        assert "is not there" not in capsys.readouterr().err

    def test_a_label_that_has_changed(self, audit, data, write_scan):
        path = data / "labelsTr" / "a.nii.gz"
        values, grid = read_label(path)
        write_scan(path, np.zeros_like(values), grid.affine)
        with raises("changed-data", path):
            select(audit=audit.root, budget=2)


class TestEstimate:
    @pytest.fixture
    def sample(self, audit):
        """All 14 noisy labels."""
        assert run("--audit", audit.root, "--purpose", "estimate", "--budget", 14) == 0
        return audit.root / "sample.csv"

    def test_a_checked_sample(self, audit, sample, capsys):
        """All labels are checked, 5 of 14 below 0.8: certain."""
        fill(
            sample,
            dice=lambda row: 0.5 if row["case"] in "ab" or (row["case"], row["label"]) == ("c", "organ") else 0.9,
        )
        assert run("--audit", audit.root, "--checked", sample) == 0
        table = pd.read_csv(audit.root / "estimate.csv").set_index("label")
        assert table.index.tolist() == ["overall", "organ", "vessel"]
        assert table["fraction"].tolist() == pytest.approx([5 / 14, 3 / 7, 2 / 7], rel=1e-5)
        assert (table["low"] == table["fraction"]).all()
        assert table["labels"].tolist() == [14, 7, 7]
        # Expected: 0.2 to 0.68 and 0.25 to 0.73, all below 0.8.
        assert table["expected"].tolist() == [1, 1, 1]
        assert "5 of 14 checked are erroneous" in capsys.readouterr().err

    def test_a_part_of_the_sample_and_another_limit(self, audit, sample, capsys):
        table = pd.read_csv(sample)
        last = {(row["case"], row["label"]) for row in table.tail(4).to_dict("records")}
        fill(sample, dice=lambda row: "" if (row["case"], row["label"]) in last else 0.75)
        rows = select(audit=audit.root, checked=sample).set_index("label")
        assert "4 of the 14 labels" in capsys.readouterr().err
        assert rows.loc["overall", ["checked", "erroneous", "high"]].tolist() == [10, 10, 1]
        assert rows.loc["overall", "low"] < 1
        assert select(audit=audit.root, checked=sample, below=0.7)["erroneous"].tolist() == [0, 0, 0]

    def test_words_instead_of_numbers(self, audit, sample, tmp_path):
        """In a table of its own, with a label that was not drawn."""
        rows = pd.read_csv(sample)[["case", "label"]].assign(erroneous="No")
        rows.loc[len(rows)] = ["h", "organ", "yes"]
        rows.to_csv(tmp_path / "found.csv", index=False)
        assert select(audit=audit.root, checked=tmp_path / "found.csv")["fraction"].tolist() == [0, 0, 0]
        with raises("mismatch"):
            select(audit=audit.root, checked=tmp_path / "found.csv", below=0.7)

    def test_decisions(self, audit, data, sample, tmp_path):
        """An accepted proposal is the right label: that of a is compared with the given one."""
        new = tmp_path / "new.nii.gz"
        write_label(new, read_label(data / "labelsTr" / "c.nii.gz")[0], like=data / "labelsTr" / "c.nii.gz")
        rows = [(case, label, "accept", "") for case in "ab" for label in ("organ", "vessel")]
        limit = max(dice_to_proposal(data, audit, case, label) for case, label, *_ in rows) + 0.01
        rows += [("c", "", "replace", "new.nii.gz"), ("h", "organ", "reject", "")]
        rows += [(case, label, "reject", "") for case in "defg" for label in ("organ", "vessel")]
        path = tmp_path / "decisions.csv"
        pd.DataFrame(rows, columns=["case", "label", "decision", "file"]).to_csv(path, index=False)
        found = select(audit=audit.root, checked=path, below=limit).set_index("label")
        assert found.loc["overall", ["checked", "erroneous"]].tolist() == [14, 4]
        lowest = min(dice_to_proposal(data, audit, case, label) for case in "ab" for label in ("organ", "vessel"))
        assert select(audit=audit.root, checked=path, below=lowest)["erroneous"].tolist() == [0, 0, 0]

    def test_a_region_that_is_kept(self, audit, data, sample, tmp_path):
        """Where all that the proposal removes is kept, the given label is right."""
        given = read_label(data / "labelsTr" / "a.nii.gz")[0]
        proposed = read_label(audit.proposal("a", ".nii.gz"))[0]
        like = data / "labelsTr" / "a.nii.gz"
        number = np.where(given == LABELS["organ"], 2, 3)
        write_label(audit.issues("a", ".nii.gz"), np.where(given == proposed, 0, number).astype(np.uint8), like=like)
        regions = [("a", number, label, label, "background") for number, label in ((2, "organ"), (3, "vessel"))]
        table = pd.DataFrame(regions, columns=["case", "region", "label", "given", "suggested"])
        table.to_csv(audit.regions, index=False)
        rows = [(case, label, "accept", "") for case in "abcdefg" for label in ("organ", "vessel")]
        rows += [("a", label, "reject", number) for label, number in (("organ", "2"), ("vessel", "3"))]
        path = tmp_path / "decisions.csv"
        pd.DataFrame(rows, columns=["case", "label", "decision", "region"]).to_csv(path, index=False)
        changed = [
            sum(dice_to_proposal(data, audit, case, label) < 0.999 for case in "bcdefg")
            for label in ("organ", "vessel")
        ]
        assert min(dice_to_proposal(data, audit, "a", label) for label in ("organ", "vessel")) < 0.999
        assert select(audit=audit.root, checked=path, below=0.999)["erroneous"].tolist() == [sum(changed), *changed]

    def test_right_labels_in_a_folder(self, audit, data, sample, tmp_path):
        folder = DataFolder.open(data)
        (tmp_path / "right").mkdir()
        dices = {}
        for case in folder.cases:
            values = read_label(case.label)[0]
            right = values.copy()
            if case.name in "ab":
                right[: right.shape[0] // 3] = 0
            write_label(tmp_path / "right" / case.label.name, right, like=case.label)
            for label in ("organ", "vessel"):
                dices[case.name, label] = dice(values == LABELS[label], right == LABELS[label])
        limit = 0.999
        expected = sum(value < limit for (case, _), value in dices.items() if case != "h")
        found = select(audit=audit.root, checked=tmp_path / "right", below=limit)
        assert 0 < expected == found["erroneous"].iloc[0]

    def test_a_data_folder_tells_what_is_expert(self, audit, data, sample, tmp_path):
        correct(data=data, audit=audit.root, out=tmp_path / "corrected")
        with raises("no-data", "corrected"):
            select(audit=audit.root, checked=tmp_path / "corrected")
        table = tmp_path / "corrected" / "cases.csv"
        table.write_text(table.read_text().replace("noisy", "expert"))
        assert select(audit=audit.root, checked=tmp_path / "corrected")["checked"].iloc[0] == 14

    def test_a_filled_sample_is_not_replaced(self, audit, sample):
        fill(sample, dice=lambda row: 0.5)
        before = sample.read_bytes()
        with raises("already-exists", sample):
            select(audit=audit.root, purpose="estimate", budget=14)
        assert sample.read_bytes() == before

    def test_a_stratum_without_a_checked_label(self, audit, sample):
        fill(sample, dice=lambda row: 0.5 if row["label"] == "organ" else "")
        with raises("missing-value", sample, match="no checked label of stratum"):
            select(audit=audit.root, checked=sample)

    @pytest.mark.parametrize(
        ("columns", "code"),
        [
            ({"dice": lambda row: 85}, "invalid-value"),
            ({"dice": lambda row: "good"}, "invalid-value"),
            ({"dice": lambda row: 0.5, "erroneous": lambda row: "no"}, "mismatch"),
            ({"erroneous": lambda row: "perhaps"}, "unknown-name"),
            ({"verdict": lambda row: "no"}, "unknown-name"),
        ],
    )
    def test_cells_that_cannot_be_used(self, audit, sample, columns, code):
        fill(sample, **columns)
        with raises(code):
            select(audit=audit.root, checked=sample)

    def test_a_table_that_says_nothing(self, audit, sample, tmp_path):
        (tmp_path / "found.csv").write_text("case,label\na,organ\n")
        with raises("missing-value", "found.csv"):
            select(audit=audit.root, checked=tmp_path / "found.csv")

    def test_without_a_sample(self, audit, tmp_path):
        (tmp_path / "found.csv").write_text("case,label,dice\na,organ,0.5\n")
        with raises("missing-file", "sample.csv"):
            select(audit=audit.root, checked=tmp_path / "found.csv")


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "code", "where"),
        [
            ({"budget": 0}, "invalid-value", "budget"),
            ({"budget": 8}, "invalid-value", "budget"),
            ({"budget": 15, "purpose": "estimate"}, "invalid-value", "budget"),
            ({}, "missing-value", "budget"),
            ({"budget": 2, "diversity": 1.5}, "invalid-value", "diversity"),
            ({"budget": 2, "below": 0.0, "purpose": "estimate"}, "invalid-value", "below"),
            ({"budget": 2, "seed": -1}, "invalid-value", "seed"),
            ({"budget": 2, "sample": "sample.csv"}, "mismatch", "sample"),
            ({"budget": 2, "checked": "sample.csv"}, "mismatch", "budget"),
            ({"decisions": "a.csv", "checked": "sample.csv"}, "mismatch", "decisions"),
            ({"budget": 2, "predictions": "p", "purpose": "estimate"}, "mismatch", "predictions"),
            ({"budget": 2, "predictions": "nowhere"}, "missing-file", "quality.csv"),
            ({"budget": 2, "decisions": "nowhere.csv"}, "missing-file", "nowhere.csv"),
            ({"budget": 2, "data": "nowhere"}, "missing-file", None),
            ({"budget": 2, "out": "out.txt"}, "invalid-value", "out.txt"),
            ({"checked": "nowhere.csv"}, "missing-file", "nowhere.csv"),
        ],
    )
    def test_arguments(self, audit, arguments, code, where):
        before = sorted(audit.root.iterdir())
        with raises(code, where):
            segmend.select(audit=audit.root, **arguments)
        assert sorted(audit.root.iterdir()) == before

    def test_an_unfinished_audit(self, audit):
        audit.summary.unlink()
        with raises("unfinished", audit.summary):
            select(audit=audit.root, budget=2)

    def test_decisions_on_another_audit(self, audit, tmp_path):
        (tmp_path / "d.csv").write_text("case,label,decision,audit\na,organ,accept,0123\n")
        with raises("mismatch", match="is of the audit 0123"):
            select(audit=audit.root, budget=2, decisions=tmp_path / "d.csv")

    def test_on_the_command_line(self, audit, capsys):
        assert run("--audit", audit.root, "--budget", 0) == 1
        assert "--budget: is 0, but 7 cases are open. Give a number from 1 to 7." in capsys.readouterr().err


def test_regions_as_classes(make_folder, tmp_path):
    """Regions are labels like any other; an accepted one is compared with its own proposal."""
    root = make_folder(cases=("a", "b"), labels={"background": 0, "organ": 1, "vessel": 2})
    description = json.loads((root / "dataset.json").read_text())
    description |= {"labels": {"background": 0, "whole": [1, 2], "inner": 2}, "regions_class_order": [1, 2]}
    (root / "dataset.json").write_text(json.dumps(description))
    folder, place = DataFolder.open(root), AuditFolder(tmp_path / "audit")
    place.root.mkdir()
    rows = []
    for case in folder.cases:
        for region in folder.regions:
            rows.append(example_row(len(rows) + 1, case.name, region, 0.3))
            nothing = np.zeros(read_label(case.label)[0].shape, np.uint8)
            write_label(place.of_region(region).proposal(case.name, ".nii.gz"), nothing, like=case.label)
    write_rows(place.labels, LabelRow, rows)
    place.settings.write_text(json.dumps({"data": str(root)}))
    place.summary.write_text('{"remarks": []}')
    assert sorted(select(audit=place.root, budget=2)["case"]) == ["a", "b"]
    assert len(select(audit=place.root, budget=4, purpose="estimate")) == 4
    words = {"a": "accept", "b": "reject"}
    decided = [(case, region, words[case]) for case in "ab" for region in folder.regions]
    path = tmp_path / "decisions.csv"
    pd.DataFrame(decided, columns=["case", "label", "decision"]).to_csv(path, index=False)
    assert select(audit=place.root, checked=path)["erroneous"].tolist() == [2, 1, 1]
