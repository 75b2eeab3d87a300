"""segmend correct --preview, and the summary at the end of a correction."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hand_made_audits import hand_made_audit
from refusals import raises

import segmend
from segmend.cli import main
from segmend.data.folder import DataFolder
from segmend.data.image import read_label

LABELS = {"background": 0, "organ": 3, "vessel": 7}
SHAPE = (16, 16, 4)


def boxes(organ, vessel) -> np.ndarray:
    """Class indices of an organ from x = 2 and a vessel from x = 9, of these widths, side by side in y."""
    label = np.zeros(SHAPE, np.uint8)
    label[2 : 2 + organ, 2:10] = 1
    label[9 : 9 + vessel, 2:10] = 2
    return label


GIVEN = {"a": boxes(4, 4), "b": boxes(5, 4), "c": boxes(4, 3), "d": boxes(4, 4)}


@pytest.fixture
def data(make_folder, write_scan):
    """Four cases; d is expert."""
    table = "case,split,quality\na,train,noisy\nb,train,noisy\nc,train,noisy\nd,train,expert\n"
    root = make_folder(cases=tuple(GIVEN), labels=LABELS, shape=SHAPE, table=table)
    values = np.array(list(LABELS.values()), np.uint8)
    for case, label in GIVEN.items():
        path = root / f"labelsTr/{case}.nii.gz"
        write_scan(path, values[label], read_label(path)[1].affine)
    return root


@pytest.fixture
def audit(data, tmp_path):
    """An audit that would enlarge the organ of a, let it grow into the vessel of b, and erase the vessel of c."""
    into_vessel = GIVEN["b"].copy()
    into_vessel[7:10, 2:10] = 1
    proposals = {"a": boxes(6, 4), "b": into_vessel, "c": boxes(4, 0)}
    return hand_made_audit(data, tmp_path / "audit", proposals)


@pytest.fixture
def call(data, audit, tmp_path, capsys):
    def run(*words, status=0, out=None):
        place = ["--out", out] if out else []
        arguments = ["correct", "--data", data, "--audit", audit.root, *place, *words]
        assert main([str(word) for word in arguments]) == status
        return " ".join(capsys.readouterr().err.split())

    return run


def indices(root, case):
    return DataFolder.open(root).to_indices(read_label(root / f"labelsTr/{case}.nii.gz")[0])


class TestPreview:
    def test_nothing_but_the_table_is_written(self, data, audit, call, contents):
        of_data, of_audit = contents(data), contents(audit.root)
        shown = call("--preview", "true")
        assert contents(data) == of_data
        assert {name: what for name, what in contents(audit.root).items() if "preview" not in name} == of_audit
        assert sorted(path.name for path in audit.root.iterdir() if "preview" in path.name) == [
            "preview.csv",
            "preview.json",
        ]
        assert "3 of 8 labels in 2 of 4 cases would change: 160 voxels added, 32 removed, 288 mm3 in all" in shown

    def test_it_is_what_the_correction_then_does(self, audit, call, tmp_path):
        call("--preview", "true", "--minimum_score", "0.1")
        previewed = pd.read_csv(audit.preview)
        call("--minimum_score", "0.1", out=tmp_path / "out")
        done = pd.read_csv(tmp_path / "out/corrections.csv")
        columns = [column for column in previewed if column != "expected_gain"]
        keys = ["case", "label"]
        pd.testing.assert_frame_equal(
            previewed[columns].sort_values(keys, ignore_index=True), done[columns].sort_values(keys, ignore_index=True)
        )
        np.testing.assert_allclose(
            previewed["expected_gain"], previewed["expected_dice_after"] - previewed["expected_dice_before"], atol=2e-6
        )

    def test_sizes_by_hand(self, audit, call):
        call("--preview", "true")
        row = pd.read_csv(audit.preview).set_index(["case", "label"]).loc["a", "organ"]
        added = 2 * 8 * 4
        assert (row["added_voxels"], row["removed_voxels"], row["changed_mm3"]) == (added, 0, 1.5 * added)
        assert row["box"] == "6-7 2-9 0-3"
        assert 0 < row["distance_mm"] < 2
        assert row["expected_gain"] > 0

    def test_the_largest_loss_comes_first(self, data, tmp_path, capsys):
        """Surfaces move outward, although the evidence is that of the labels themselves."""
        offsets = {"correction_mm": 2.0, "correction_se_mm": 0.5, "expected_dice": 0.75}
        audit = hand_made_audit(data, tmp_path / "audit", {"a": boxes(6, 4)}, columns=offsets)
        words = ["correct", "--data", str(data), "--audit", str(audit.root), "--preview", "true"]
        assert main([*words, "--correct_offsets", "true"]) == 0
        table = pd.read_csv(audit.preview)
        assert table["expected_gain"].is_monotonic_increasing
        assert table["reason"].tolist().count("offset") == 5
        assert (table.loc[table["reason"] == "offset", "expected_gain"] < 0).all()
        assert table.iloc[-1][["case", "label", "reason"]].tolist() == ["a", "organ", "score"]
        numbers = json.loads(audit.preview.with_suffix(".json").read_text())
        assert numbers["labels_expected_to_lose"] == 5
        assert numbers["labels_expected_to_gain"] == 1
        gain = table["expected_gain"]
        assert numbers["expected_loss"] == pytest.approx(-gain[gain < 0].sum(), abs=1e-4)
        assert numbers["expected_gain"] == pytest.approx(gain[gain > 0].sum(), abs=1e-4)
        assert numbers["expected_dice_of_all"]["before"] == 0.75
        assert numbers["expected_dice_of_all"]["after"] == pytest.approx(0.75 + gain.sum() / 8, abs=1e-5)
        shown = capsys.readouterr().err
        assert shown.index("offset") < shown.index("score")

    def test_another_place(self, audit, call, tmp_path):
        call("--preview", "true", out=tmp_path / "there" / "p.csv")
        assert (tmp_path / "there" / "p.json").is_file()
        assert not audit.preview.exists()

    def test_places_that_cannot_be(self, data, audit, call, tmp_path):
        assert "does not end in .csv" in call("--preview", "true", out=tmp_path / "x", status=1)
        assert "lies in the data folder" in call("--preview", "true", out=data / "x.csv", status=1)
        assert "--out: is missing" in call(status=1)
        assert not list(tmp_path.glob("x*"))
        assert not audit.preview.exists()

    def test_a_new_audit_forgets_it(self, audit, call):
        call("--preview", "true")
        audit.remove_results()
        assert not audit.preview.exists()
        assert not audit.preview.with_suffix(".json").exists()

    def test_from_python(self, data, audit):
        table = segmend.correct(data, audit.root, preview=True)
        assert table["expected_gain"].tolist() == sorted(table["expected_gain"])


class TestNoHarmWithoutARow:
    def test_a_class_that_loses_voxels_to_another_one_has_a_row(self, audit, call, tmp_path):
        decisions = tmp_path / "decisions.csv"
        decisions.write_text("case,label,decision\nb,organ,accept\n")
        call("--preview", "true", "--decisions", decisions)
        table = pd.read_csv(audit.preview).set_index("label")
        assert table["reason"].to_dict() == {"organ": "accepted", "vessel": "neighbour"}
        assert table.loc["vessel", "removed_voxels"] == 8 * 4

    @pytest.mark.parametrize("seed", range(4))
    def test_every_class_that_changes_has_one(self, data, tmp_path, seed):
        random = np.random.default_rng(seed)
        proposals = {}
        for case in "abc":
            low, high = np.sort(random.choice(17, 2, replace=False))
            proposals[case] = GIVEN[case].copy()
            proposals[case][:, low:high] = random.integers(0, 3, (16, 1, 1))
        columns = {"correction_mm": 1.5, "correction_se_mm": 1.0}
        audit = hand_made_audit(data, tmp_path / "audit", proposals, columns=columns)
        decisions = tmp_path / "decisions.csv"
        rows = [f"{case},{label},{random.choice(['accept', 'reject'])}" for case in "ab" for label in ("organ",)]
        proposed = pd.read_csv(audit.labels).query("proposal != 'none'")
        known = {f"{row.case},{row.label}" for row in proposed.itertuples()}
        rows = [row for row in rows if row.rsplit(",", 1)[0] in known or "reject" in row]
        decisions.write_text("\n".join(["case,label,decision", *rows]))
        arguments = {"decisions": decisions, "minimum_score": 0.1, "correct_offsets": bool(seed % 2)}
        table = segmend.correct(data, audit.root, preview=True, **arguments)
        segmend.correct(data, audit.root, out=tmp_path / "out", **arguments)
        listed = {(row.case, row.label): (row.added_voxels, row.removed_voxels) for row in table.itertuples()}
        for case in GIVEN:
            before, after = indices(data, case), indices(tmp_path / "out", case)
            for index, label in ((1, "organ"), (2, "vessel")):
                gained, lost = (after == index) & (before != index), (before == index) & (after != index)
                assert listed.get((case, label), (0, 0)) == (gained.sum(), lost.sum())
        assert "d" not in set(table["case"])


class TestWholeObjects:
    def test_they_are_left_for_a_person(self, data, audit, call, tmp_path):
        shown = call(out=tmp_path / "out")
        assert "1 labels left for a person, as a correction would erase or create a whole object (c vessel)" in shown
        np.testing.assert_array_equal(indices(tmp_path / "out", "c"), GIVEN["c"])
        call("--preview", "true")
        numbers = json.loads(audit.preview.with_suffix(".json").read_text())
        assert numbers["left_for_a_person"] == [{"case": "c", "label": "vessel", "erased": 1, "created": 0}]

    def test_who_may_accept_them(self, data, call, tmp_path):
        (tmp_path / "decisions.csv").write_text("case,label,decision\nc,vessel,accept\n")
        shown = call("--decisions", tmp_path / "decisions.csv", out=tmp_path / "out")
        assert "left for a person" not in shown
        assert not (indices(tmp_path / "out", "c") == 2).any()

    def test_nor_does_another_class_take_them(self, data, tmp_path):
        """The organ would take the whole vessel; it grows elsewhere only."""
        taken = boxes(7, 4)
        taken[9:13, 2:10] = 1
        audit = hand_made_audit(data, tmp_path / "audit", {"a": taken})
        rows = segmend.correct(data, audit.root, out=tmp_path / "out")
        np.testing.assert_array_equal(indices(tmp_path / "out", "a"), boxes(7, 4))
        assert rows[["case", "label"]].to_numpy().tolist() == [["a", "organ"]]

    def test_nor_does_an_offset_erase_them(self, data, tmp_path):
        offsets = {"correction_mm": -6.0, "correction_se_mm": 0.5}
        audit = hand_made_audit(data, tmp_path / "audit", {}, columns=offsets)
        table = segmend.correct(data, audit.root, out=tmp_path / "out", correct_offsets=True)
        assert table.empty
        np.testing.assert_array_equal(indices(tmp_path / "out", "a"), GIVEN["a"])


def test_a_proposal_that_is_expected_to_be_worse_needs_a_person(data, tmp_path):
    expected = {"expected_dice": 0.9, "expected_dice_proposal": 0.8}
    audit = hand_made_audit(data, tmp_path / "audit", {"a": boxes(6, 4)}, columns=expected)
    assert segmend.correct(data, audit.root, preview=True).empty
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("case,label,decision\na,organ,accept\n")
    (row,) = segmend.correct(data, audit.root, preview=True, decisions=decisions).itertuples()
    assert (row.expected_dice_before, row.expected_dice_after) == (0.9, 0.8)
    assert row.expected_gain == pytest.approx(-0.1)


def test_without_probabilities_the_changes_are_listed_all_the_same(data, tmp_path, capsys):
    audit = hand_made_audit(data, tmp_path / "audit", {"a": boxes(6, 4)}, evidence=False)
    table = segmend.correct(data, audit.root, preview=True)
    assert table[["case", "label"]].to_numpy().tolist() == [["a", "organ"]]
    assert table["expected_gain"].isna().all()
    assert "the expected Dice of 1 changed cases is not known" in capsys.readouterr().err
    numbers = json.loads(audit.preview.with_suffix(".json").read_text())
    assert numbers["labels_without_expected_dice"] == 1
    assert numbers["expected_dice_of_changed"] is None


def test_damaged_probabilities_are_named(data, audit):
    audit.evidence("a").write_bytes(audit.evidence("a").read_bytes()[:-30])
    table = segmend.correct(data, audit.root, preview=True).set_index("case")
    assert np.isnan(table.loc["a", "expected_gain"])


def test_another_score_than_0_to_1(data, audit):
    with raises("invalid-value", "minimum_score"):
        segmend.correct(data, audit.root, preview=True, minimum_score=-1)
