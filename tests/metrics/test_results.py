from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from segmend.core.errors import InputError
from segmend.core.tables import write_json, write_table
from segmend.metrics import Score, Status, read_table, summarise, to_table
from segmend.metrics.results import COLUMNS

HEADER = "case,label,dice,jaccard,hd95,asd,assd,mssd,nsd,ravd,volume_prediction,volume_reference,status"


def found(case: str, label: str, dice: float, hd95: float) -> Score:
    return Score(case, label, dice, dice, hd95, 0.5, 0.75, 3.0, 0.9, 0.1, 10.0, 11.0, Status.OK)


def missed(case: str, label: str) -> Score:
    return Score(case, label, 0.0, 0.0, None, None, None, None, 0.0, 1.0, 0.0, 11.0, Status.MISSED)


SCORES = [found("007", "NA", 0.8, 2.0), found("NA", "NA", 0.6, 5.0), missed("null", "NA"), missed("007", "1")]


def test_table_has_the_promised_columns():
    assert ",".join(COLUMNS) == HEADER
    table = to_table(SCORES)
    assert list(table.columns) == list(COLUMNS)
    assert table["dice"].tolist() == [0.8, 0.6, 0.0, 0.0]
    assert table["hd95"].isna().tolist() == [False, False, True, True]
    assert table["status"].tolist() == ["ok", "ok", "missed", "missed"]


def test_csv_gives_back_every_value_and_name(tmp_path):
    path = tmp_path / "scores.csv"
    scores = [*SCORES, found("precise", "NA", 1 / 3, float(np.pi))]
    write_table(path, to_table(scores))
    lines = path.read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[3] == "null,NA,0.0,0.0,,,,,0.0,1.0,0.0,11.0,missed"
    pd.testing.assert_frame_equal(read_table(path), to_table(scores))
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]


def test_column_without_any_defined_value_stays_a_number(tmp_path):
    write_table(tmp_path / "a.csv", to_table([missed("a", "1")]))
    assert read_table(tmp_path / "a.csv")["hd95"].dtype == to_table([missed("a", "1")])["hd95"].dtype == float


def test_summary_by_hand():
    summary = summarise(to_table(SCORES))
    assert list(summary["labels"]) == ["NA", "1"]
    named = summary["labels"]["NA"]
    assert named["dice"] == {
        "mean": pytest.approx(1.4 / 3),
        "std": pytest.approx(np.sqrt((0.8**2 + 0.6**2) / 3 - (1.4 / 3) ** 2)),
        "median": 0.6,
        "n": 3,
        "undefined": 0,
    }
    assert named["hd95"] == {"mean": 3.5, "std": 1.5, "median": 3.5, "n": 2, "undefined": 1}
    assert named["status"] == {"ok": 2, "missed": 1, "false_alarm": 0, "both_empty": 0}
    nothing = {"mean": None, "std": None, "median": None, "n": 0, "undefined": 1}
    assert summary["labels"]["1"]["assd"] == nothing
    assert summary["overall"]["dice"]["mean"] == pytest.approx(1.4 / 4)
    assert summary["overall"]["hd95"] == {"mean": 3.5, "std": 1.5, "median": 3.5, "n": 2, "undefined": 2}
    assert summary["overall"]["status"]["missed"] == 2


def test_summary_is_json(tmp_path):
    path = tmp_path / "scores.json"
    summary = summarise(to_table(SCORES))
    write_json(path, summary)
    assert json.loads(path.read_text()) == summary


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        ("", "cannot be read as a result table"),
        ("case,dice\na,1\n", "is not a result table, the column 'label' is missing"),
        (HEADER + "\na,1,high" + ",1" * 9 + ",ok\n", "cannot be read as a result table"),
        (HEADER + ("\na,1" + ",1" * 10 + ",ok") * 2 + "\n", "holds case 'a', label '1' twice"),
    ],
)
def test_files_that_are_no_result_tables_are_named(tmp_path, content, problem):
    path = tmp_path / "other.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=problem) as error:
        read_table(path)
    assert str(error.value).startswith(str(path))
    assert "segmend evaluate" in str(error.value)


def test_a_table_that_went_through_a_spreadsheet(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes((HEADER.replace(",", ";") + "\r\nNA;1;0.5" + ";" * 9 + ";ok\r\n" + ";" * 12).encode("utf-16"))
    table = read_table(path)
    assert table["case"].tolist() == ["NA"]
    assert table["dice"].tolist() == [0.5]
    assert table["hd95"].isna().all()


def test_decimal_commas_are_named(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(HEADER.replace(",", ";") + "\na;1;0,5" + ";1" * 9 + ";ok\n")
    with pytest.raises(
        InputError, match=r"scores\.csv line 2: .*dice is '0,5'.*Write decimal points instead of commas"
    ):
        read_table(path)
