from __future__ import annotations

import math

import pytest
from refusals import raises

from segmend.audit.decisions import CaseDecisions, DecidedRegion, Decision
from segmend.audit.selection.candidates import (
    decided_labels,
    labelled_candidates,
    learned_classes,
    open_labels,
    unlabelled_candidates,
)

HEADER = "case,label,expected_dice,volume,expected_volume,mean_entropy,calibration\n"


class TestLabels:
    def test_the_gain_is_summed_over_the_open_classes(self, make_audit, label_row):
        place = make_audit(
            [
                label_row("a", "organ", 0.5, 0.9, annotator="ann"),
                label_row("a", "vessel", 0.9, 0.7),
                label_row("b", "organ", 1.0, 0.7),
                label_row("c", "organ", 0.1, 0.9, quality="expert"),
                label_row("d", "organ", 0.1, 0.9),
                label_row("d", "vessel", 0.2, 0.9),
            ]
        )
        rows = open_labels(place, place.read_labels(), {("d", "organ")})
        found = labelled_candidates(rows)
        assert [each.case for each in found] == ["a", "b", "d"]
        assert [each.gain for each in found] == pytest.approx([0.6, 0.0, 0.8])
        assert [each.label for each in found[2].classes] == ["vessel"]
        assert found[0].annotator == "ann"

    def test_nothing_is_open(self, make_audit, label_row):
        place = make_audit([label_row("a", "organ", 0.1, 0.9, quality="expert"), label_row("b", "organ", math.nan, 1)])
        with raises("no-data", place.labels):
            open_labels(place, place.read_labels(), {})

    def test_an_audit_of_before(self, make_audit, label_row):
        place = make_audit([label_row("a", "organ", 0.1, 0.9)])
        table = place.read_labels().drop(columns="expected_dice")
        with raises("missing-value", place.labels):
            open_labels(place, table, {})

    def test_classes_that_the_model_has_not_learned(self, make_audit, label_row, capsys):
        place = make_audit([label_row("a", "organ", 0.5, 0.9), label_row("a", "vessel", 0.1, 0.3)])
        rows = open_labels(place, place.read_labels(), {})
        usual = {"organ": {"best_dice": 0.9}, "vessel": {"best_dice": 0.3}}
        assert learned_classes(place, rows, {"usual": usual})["label"].tolist() == ["organ"]
        assert "has not learned vessel" in capsys.readouterr().err
        assert len(learned_classes(place, rows, {})) == 2
        with raises("no-data", place.labels):
            learned_classes(place, rows, {"usual": {name: {"best_dice": 0.5} for name in usual}})

    def test_decided_is_what_people_were_sure_of(self, make_audit, label_row):
        place = make_audit(label_row(case, label, 0.5, 0.9) for case in "abcd" for label in ("organ", "vessel"))
        accept, unsure = Decision("accept", ""), Decision("unsure", "")
        decisions = {
            "a": CaseDecisions({"organ": accept, "vessel": unsure}),
            "b": CaseDecisions(replacement=Decision("replace", "")),
            "c": CaseDecisions(regions=(DecidedRegion("organ", 2, "organ", accept),)),
        }
        found = decided_labels(place.read_labels(), decisions)
        assert found == {("a", "organ"), ("b", "organ"), ("b", "vessel")}


class TestPredictions:
    def test_short_of_the_mean_of_unlabelled_cases(self, tmp_path):
        rows = "u,organ,0.5,100,90,0.1,\nv,organ,0.9,300,300,0.1,\nlabelled,organ,0.1,100,90,0.1,\n"
        (tmp_path / "quality.csv").write_text(HEADER + rows)
        found = unlabelled_candidates(tmp_path, {"labelled"})
        assert [(each.case, each.labelled, each.gain) for each in found] == [
            ("u", False, pytest.approx(0.2)),
            ("v", False, 0.0),
        ]
        assert found[0].volumes == {"organ": 100.0}

    def test_an_empty_mask_is_good_only_where_nothing_is_expected(self, tmp_path):
        """Median volume 100, so s = 5: with 15 expected 5 / 20, with none 1."""
        rows = "u,organ,,0,15,,\nv,organ,,0,0,,\nw,organ,0.75,100,100,0.1,\n"
        (tmp_path / "quality.csv").write_text(HEADER + rows)
        found = {each.case: each.classes[0] for each in unlabelled_candidates(tmp_path, ())}
        assert {case: each.expected for case, each in found.items()} == {"u": 0.25, "v": 1.0, "w": 0.75}
        assert found["u"].attainable == pytest.approx(2 / 3)

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("case,label\nu,organ\n", "missing-value"),
            (HEADER, "no-data"),
            (HEADER + "u,organ,1.5,1,1,0.1,\n", "invalid-value"),
            (HEADER + "u,organ,good,1,1,0.1,\n", "invalid-value"),
        ],
    )
    def test_refused(self, tmp_path, text, code):
        (tmp_path / "quality.csv").write_text(text)
        with raises(code, "quality.csv" if code != "invalid-value" else None):
            unlabelled_candidates(tmp_path, ())

    def test_no_table(self, tmp_path):
        with raises("missing-file", "quality.csv"):
            unlabelled_candidates(tmp_path, ())
