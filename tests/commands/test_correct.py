from __future__ import annotations

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from refusals import raises

import segmend
from segmend.audit.corrections import apply_changes, read_corrections
from segmend.audit.folder import AuditFolder
from segmend.audit.offsets import shift_boundaries
from segmend.cli import main
from segmend.commands.correct import correct
from segmend.core.case import Quality
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label, write_label

CASES = ("a", "b", "c", "d")
TABLE = "case,split,quality,domain,annotator\nd,train,expert,centre 1,\nb,train,noisy,,ann\n"
LABELS = {"background": 0, "organ": 3, "vessel": 7}


@pytest.fixture
def data(make_folder, write_scan):
    root = make_folder(cases=CASES, test_cases=("t",), raters=("ann",), labels=LABELS, table=TABLE)
    description = json.loads((root / "dataset.json").read_text())
    description["labels"]["ignore"] = 9
    (root / "dataset.json").write_text(json.dumps(description))
    for path in sorted(root.glob("labelsTr*/*")):
        # What the audit proposes below is an extension of these: new objects need a person.
        values, grid = read_label(path)
        values[10, 0, 8], values[10, -1, 8] = LABELS["organ"], LABELS["vessel"]
        write_scan(path, values, grid.affine)
    return root


@pytest.fixture
def audit(data, tmp_path):
    """An audit that proposes to swap slabs of every label; scores by case and label."""
    folder, place = DataFolder.open(data), AuditFolder(tmp_path / "audit")
    rows = []
    scores = {"a": (0.9, 0.2), "b": (0.6, 0.55), "c": (0.3, None), "d": (0.95, 0.95)}
    for case in folder.select(segmend.core.case.Split.TRAIN):
        given = folder.to_indices(read_label(case.label)[0])
        proposed = given.copy()
        proposed[:, :4], proposed[:, -4:] = 1, 2
        write_label(place.proposal(case.name, ".nii.gz"), folder.to_values(proposed), like=case.label)
        for label, score in zip(("organ", "vessel"), scores[case.name], strict=True):
            rows.append(
                {
                    "case": case.name,
                    "label": label,
                    "score": 0.25,
                    "kind": "extra",
                    "quality": str(case.quality),
                    "proposal": "none" if score is None else "regions",
                    "proposal_score": score,
                }
            )
    pd.DataFrame(rows).to_csv(place.labels, index=False)
    audit_anew(place, data)
    return place


def audit_anew(place, data):
    """Takes the labels as they are now for those that were audited."""
    digests = {case.name: digest_of(case.label) for case in DataFolder.open(data).cases if case.label}
    place.settings.write_text(json.dumps({"labels": digests}))


def indices(root, case, folder="labelsTr"):
    return DataFolder.open(root).to_indices(read_label(root / folder / f"{case}.nii.gz")[0])


def chosen(rows):
    """Rows without those of classes that only lost voxels to, or gained some from, a corrected one."""
    return rows[rows["reason"] != "neighbour"]


@pytest.fixture
def with_offsets(data, audit):
    """The audit, by which every organ is 2 mm too tight and no vessel is off by more than is certain."""
    table = pd.read_csv(audit.labels)
    organ = table["label"] == "organ"
    noisy = table["quality"] != "expert"
    table["correction_mm"] = np.where(noisy, np.where(organ, 2.0, -0.3), np.nan)
    table["correction_se_mm"] = np.where(noisy, 0.5, np.nan)
    table.to_csv(audit.labels, index=False)
    return audit


class TestByOffsets:
    def test_surfaces_of_noisy_labels_are_moved(self, data, with_offsets, tmp_path):
        out = tmp_path / "out"
        rows = chosen(correct(data=data, audit=with_offsets.root, out=out, minimum_score=1.0, correct_offsets=True))
        assert set(zip(rows["case"], rows["label"], strict=True)) == {(case, "organ") for case in "abc"}
        assert set(rows["reason"]) == {"offset"}
        assert set(rows["proposal"]) == {"moved +2.00 mm"}
        new, old = indices(out, "a"), indices(data, "a")
        np.testing.assert_array_equal(
            new,
            apply_changes(old, shift_boundaries(old, {1: 2.0}, read_grid(data / "labelsTr/a.nii.gz").spacing), [1], []),
        )
        assert (new == 1).sum() > (old == 1).sum()
        assert (out / "labelsTr/d.nii.gz").read_bytes() == (data / "labelsTr/d.nii.gz").read_bytes()
        assert read_corrections(out)[0].proposal_score == ""

    def test_proposals_that_are_followed_come_first(self, data, with_offsets, tmp_path):
        rows = correct(data=data, audit=with_offsets.root, out=tmp_path / "out", correct_offsets=True)
        rows = chosen(rows).set_index("case")
        assert rows.loc["a", "reason"] == "score"
        assert rows.loc["c", "reason"] == "offset"
        assert (indices(tmp_path / "out", "a")[:, :4] == 1).all()

    def test_what_was_rejected_stays(self, data, with_offsets, tmp_path):
        decisions = tmp_path / "decisions.csv"
        decisions.write_text("case,label,decision\na,organ,reject\n")
        rows = correct(
            data=data, audit=with_offsets.root, out=tmp_path / "out", decisions=decisions, correct_offsets=True
        )
        assert set(rows["case"]) == {"b", "c"}

    def test_an_audit_of_earlier_times_has_no_offsets(self, data, audit, tmp_path, capsys):
        words = ["--data", str(data), "--audit", str(audit.root), "--out", str(tmp_path / "out")]
        assert main(["correct", *words, "--correct_offsets", "true"]) == 1
        assert "has no column 'correction_mm'. Audit the folder again." in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


class TestByScore:
    def test_sure_proposals_are_followed(self, data, audit, tmp_path, contents):
        before, of_audit = contents(data), contents(audit.root)
        out = tmp_path / "out"
        assert main(["correct", "--data", str(data), "--audit", str(audit.root), "--out", str(out)]) == 0
        assert contents(data) == before
        assert contents(audit.root) == of_audit
        new, old = indices(out, "a"), indices(data, "a")
        assert (new[:, :4] == 1).all()
        np.testing.assert_array_equal(new[:, 4:], old[:, 4:])  # its vessel is not sure enough
        for name in ("c", "d"):
            file = f"labelsTr/{name}.nii.gz"
            assert (out / file).read_bytes() == (data / file).read_bytes()

    def test_the_label_of_the_annotator_is_the_one_that_changes(self, data, audit, tmp_path):
        out = tmp_path / "out"
        correct(data=data, audit=audit.root, out=out)
        new = indices(out, "b", "labelsTr_ann")
        assert (new[:, :4] == 1).all()
        assert (new[:, -4:] == 2).all()
        assert (out / "labelsTr/b.nii.gz").read_bytes() == (data / "labelsTr/b.nii.gz").read_bytes()

    @pytest.mark.parametrize(("bar", "changed"), [(0.1, {"a", "b", "c"}), (0.7, {"a"}), (1.0, set())])
    def test_the_bar(self, data, audit, tmp_path, bar, changed):
        rows = correct(data=data, audit=audit.root, out=tmp_path / "out", minimum_score=bar)
        assert set(rows["case"]) == changed

    def test_the_copy_is_a_data_folder_like_the_given_one(self, data, audit, tmp_path):
        (data / "corruption.csv").write_text("case\n")
        correct(data=data, audit=audit.root, out=tmp_path / "out", minimum_score=0.1)
        given, copy = DataFolder.open(data), DataFolder.open(tmp_path / "out")
        assert [(c.name, c.split, c.quality, c.domain, c.annotator) for c in copy.cases] == [
            (c.name, c.split, c.quality, c.domain, c.annotator) for c in given.cases
        ]
        assert (tmp_path / "out/dataset.json").read_bytes() == (data / "dataset.json").read_bytes()
        assert (tmp_path / "out/corruption.csv").is_file()
        image = "imagesTr/a_0000.nii.gz"
        assert (tmp_path / "out" / image).samefile(data / image)
        assert not (tmp_path / "out/labelsTr/c.nii.gz").samefile(data / "labelsTr/c.nii.gz")

    def test_headers_are_not_touched(self, data, audit, tmp_path):
        path = data / "labelsTr/a.nii.gz"
        file = nibabel.load(path)
        file.header["descrip"] = b"drawn on a Monday"
        file.set_sform(file.affine, 1)
        file.set_qform(file.affine, 2)
        nibabel.save(file, path)
        audit_anew(audit, data)
        correct(data=data, audit=audit.root, out=tmp_path / "out")
        before, after = nibabel.load(path).header, nibabel.load(tmp_path / "out/labelsTr/a.nii.gz").header
        for name in (
            "descrip",
            "qform_code",
            "sform_code",
            "pixdim",
            "srow_x",
            "srow_y",
            "srow_z",
            "dim",
            "xyzt_units",
        ):
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)

    def test_what_is_not_annotated_stays(self, data, audit, tmp_path, write_scan):
        path = data / "labelsTr/a.nii.gz"
        values, grid = read_label(path)
        values[:2] = 9
        write_scan(path, values, grid.affine)
        audit_anew(audit, data)
        correct(data=data, audit=audit.root, out=tmp_path / "out")
        new, _ = read_label(tmp_path / "out/labelsTr/a.nii.gz")
        assert (new[:2] == 9).all()
        assert (new[2:, :4] == 3).all()


class TestByDecisions:
    @pytest.fixture
    def decide(self, tmp_path):
        def write(text):
            (tmp_path / "decisions.csv").write_text("case,label,decision\n" + text)
            return tmp_path / "decisions.csv"

        return write

    def test_only_what_is_accepted_changes(self, data, audit, tmp_path, decide):
        table = decide("a,organ,reject\nb,vessel,accept\nb,organ,unsure\nc,organ,accept\n")
        rows = chosen(correct(data=data, audit=audit.root, out=tmp_path / "out", decisions=table))
        assert set(zip(rows["case"], rows["label"], strict=True)) == {("b", "vessel"), ("c", "organ")}
        assert set(rows["reason"]) == {"accepted"}
        new, old = indices(tmp_path / "out", "b", "labelsTr_ann"), indices(data, "b", "labelsTr_ann")
        refused = old[:, -4:] == 1
        assert (new[:, -4:][~refused] == 2).all()
        np.testing.assert_array_equal(new[:, -4:][refused], 1)
        np.testing.assert_array_equal(new[:, :-4], old[:, :-4])

    def test_with_a_bar_for_the_others(self, data, audit, tmp_path, decide):
        table = decide("a,organ,reject\nc,organ,accept\n")
        rows = correct(data=data, audit=audit.root, out=tmp_path / "out", decisions=table, minimum_score=0.58)
        rows = chosen(rows)
        assert set(zip(rows["case"], rows["label"], rows["reason"], strict=True)) == {
            ("b", "organ", "score"),
            ("c", "organ", "accepted"),
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a,organ,acept\n", "line 2: decision is 'acept'. Did you mean accept"),
            ("a,orgna,accept\n", "'a', label 'orgna' was not audited. Did you mean organ"),
            ("zz,organ,accept\n", "case 'zz', label 'organ' was not audited"),
            ("a,organ,accept\na,organ,reject\n", "line 3: case 'a', label 'organ' is decided twice"),
            ("d,organ,accept\n", "accepts a change of the expert case 'd'. Add --change_expert true"),
        ],
    )
    def test_bad_tables(self, data, audit, tmp_path, decide, capsys, text, message):
        words = ["--data", data, "--audit", audit.root, "--out", tmp_path / "out", "--decisions", decide(text)]
        assert main(["correct", *map(str, words)]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "content",
        [
            "Case;Label;Decision\r\nb;vessel;Accept\r\n;;\r\n c ;organ; ACCEPT;\r\n".encode("utf-8-sig"),
            "case\tlabel\tdecision\r\nb\tvessel\taccept\r\nc\torgan\taccept\r\n".encode("utf-16"),
        ],
    )
    def test_as_a_spreadsheet_saves_it(self, data, audit, tmp_path, content):
        (tmp_path / "decisions.csv").write_bytes(content)
        rows = chosen(correct(data=data, audit=audit.root, out=tmp_path / "out", decisions=tmp_path / "decisions.csv"))
        assert set(zip(rows["case"], rows["label"], strict=True)) == {("b", "vessel"), ("c", "organ")}

    def test_an_empty_decision_is_none(self, data, audit, tmp_path, decide):
        with raises("invalid-value", match=r"line 3: decision is ''\. Write accept or reject or unsure"):
            correct(data=data, audit=audit.root, out=tmp_path / "out", decisions=decide("b,vessel,accept\nc,organ,\n"))

    @pytest.mark.parametrize("mark", ["0123456789abcdef", None, ""])
    def test_decisions_name_the_audit_that_they_are_about(self, data, audit, tmp_path, mark):
        table, mark = tmp_path / "decisions.csv", audit.mark if mark is None else mark
        table.write_text(f"case,label,decision,audit\nc,organ,accept,{mark}\n")
        arguments = {"data": data, "audit": audit.root, "out": tmp_path / "out", "decisions": table}
        if mark.startswith("0123"):
            with raises("mismatch", match="line 2: is of the audit 0123456789abcdef, not of "):
                correct(**arguments)
            assert not (tmp_path / "out").exists()
        else:
            assert list(chosen(correct(**arguments))["case"]) == ["c"]

    def test_what_is_not_proposed_cannot_be_accepted(self, data, audit, tmp_path, decide):
        rows = pd.read_csv(audit.labels, keep_default_na=False)
        case, label = rows.loc[rows["proposal"] == "none", ["case", "label"]].iloc[0]
        with raises("mismatch", match=r"line 2: .*, but the audit proposes none"):
            correct(data=data, audit=audit.root, out=tmp_path / "out", decisions=decide(f"{case},{label},accept\n"))

    def test_tables_of_another_kind(self, data, audit, tmp_path, capsys):
        (tmp_path / "x.csv").write_text("case,decision\na,accept\n")
        for name, message in (("x.csv", "has no column 'label'"), ("none.csv", "cannot be read as a table")):
            words = ["--data", data, "--audit", audit.root, "--out", tmp_path / "out", "--decisions", tmp_path / name]
            assert main(["correct", *map(str, words)]) == 1
            assert message in capsys.readouterr().err


class TestExperts:
    def test_are_never_changed(self, data, audit, tmp_path):
        rows = correct(data=data, audit=audit.root, out=tmp_path / "out", minimum_score=0.0)
        assert "d" not in set(rows["case"])

    def test_unless_told_so(self, data, audit, tmp_path):
        rows = correct(data=data, audit=audit.root, out=tmp_path / "out", change_expert=True)
        assert "d" in set(rows["case"])
        (case,) = DataFolder.open(tmp_path / "out").select(quality=Quality.EXPERT)[:1]
        assert case.name == "d"


class TestCorrections:
    def test_say_what_was_changed_where_and_why(self, data, audit, tmp_path):
        rows = correct(data=data, audit=audit.root, out=tmp_path / "out")
        row = rows[(rows["case"] == "a")].iloc[0]
        new, old = indices(tmp_path / "out", "a"), indices(data, "a")
        assert (row["round"], row["label"], row["kind"], row["reason"]) == (1, "organ", "extra", "score")
        assert (row["score"], row["proposal"], row["proposal_score"]) == ("0.25", "regions", "0.9")
        assert row["added_voxels"] == ((new == 1) & (old != 1)).sum()
        assert row["removed_voxels"] == 0
        assert row["box"] == "0-19 0-3 0-15"
        assert [c.case for c in read_corrections(tmp_path / "out")] == rows["case"].tolist()

    def test_a_second_round_keeps_the_first(self, data, audit, tmp_path):
        first = tmp_path / "first"
        correct(data=data, audit=audit.root, out=first)
        audit_anew(audit, first)
        correct(data=first, audit=audit.root, out=tmp_path / "second", minimum_score=0.1)
        rows = read_corrections(tmp_path / "second")
        rounds = [(row.round, row.case, row.label) for row in rows if row.reason != "neighbour"]
        assert rounds == [
            (1, "a", "organ"),
            (1, "b", "organ"),
            (1, "b", "vessel"),
            (2, "a", "vessel"),
            (2, "c", "organ"),
        ]


class TestRefusals:
    @pytest.fixture
    def refused(self, data, audit, tmp_path, capsys):
        def call(*words, out="out"):
            base = ["--data", data, "--audit", audit.root, "--out", tmp_path / out]
            assert main(["correct", *map(str, [*base, *words])]) == 1
            return capsys.readouterr().err

        return call

    def test_a_label_that_was_changed_since(self, data, tmp_path, write_scan, refused):
        path = data / "labelsTr/a.nii.gz"
        values, grid = read_label(path)
        write_scan(path, 0 * values, grid.affine)
        assert "labelsTr/a.nii.gz: is not the label that was audited" in refused()
        assert not (tmp_path / "out").exists()

    def test_another_data_folder(self, make_folder, audit, tmp_path, capsys):
        other = make_folder("other", cases=("x", "y"), labels=LABELS)
        words = ["--data", other, "--audit", audit.root, "--out", tmp_path / "out"]
        assert main(["correct", *map(str, words)]) == 1
        assert "has no case 'a', which was audited" in capsys.readouterr().err

    def test_no_audit(self, audit, refused):
        audit.labels.unlink()
        assert "audit.csv: does not exist" in refused()

    @pytest.mark.parametrize(
        ("name", "old", "new", "problem"),
        [
            ("labels", "organ", "orgna", "judges a label 'orgna'. Did you mean organ?"),
            ("labels", "organ", "background", "judges a label 'background'"),
            ("labels", "0.25", "good", "'score' holds something that is no number"),
            ("labels", "regions", "os.system", "a proposal is 'os.system'"),
            ("settings", "{", "[", "is damaged"),
        ],
    )
    def test_damaged_audits(self, audit, tmp_path, refused, name, old, new, problem):
        path = getattr(audit, name)
        path.write_text(path.read_text().replace(old, new))
        assert problem in " ".join(refused().split())
        assert not (tmp_path / "out").exists()

    def test_a_proposal_on_another_grid(self, audit, tmp_path, write_scan, refused):
        write_scan(audit.proposal("b", ".nii.gz"), np.zeros((4, 4, 4), np.uint8))
        assert "proposals/b.nii.gz" in " ".join(refused().split())
        assert not (tmp_path / "out").exists()

    def test_numbers_and_places(self, data, tmp_path, refused):
        assert "--minimum_score: is 1.5" in refused("--minimum_score", "1.5")
        assert "lies in the data folder" in refused(out="data/out")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("unsaved")
        assert "already holds something" in refused(out="full")

    def test_a_missing_proposal_leaves_nothing_behind(self, audit, tmp_path, refused):
        audit.proposal("b", ".nii.gz").unlink()
        assert "proposals/b.nii.gz: does not exist" in refused()
        assert not (tmp_path / "out").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_audit_of_other_classes_or_scans_is_not_followed(data, audit, tmp_path):
    settings = json.loads(audit.settings.read_text())
    folder = DataFolder.open(data)
    images = {case.name: digest_of(*case.images) for case in folder.cases}
    for key, value, code, where in (
        ("classes", {"background": 0, "organ": 2, "ignore": None}, "mismatch", "dataset.json"),
        ("images", dict.fromkeys(images, "other"), "changed-data", "imagesTr"),
    ):
        audit.settings.write_text(json.dumps(settings | {key: value}))
        with raises(code, where):
            correct(data=data, audit=audit.root, out=tmp_path / "out", minimum_score=0.0)
        assert not (tmp_path / "out").exists()
    same = {"classes": {**folder.labels, "ignore": folder.ignore}, "images": images}
    audit.settings.write_text(json.dumps(settings | same))
    correct(data=data, audit=audit.root, out=tmp_path / "out", minimum_score=0.0)
