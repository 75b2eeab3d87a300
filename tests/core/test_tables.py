from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd
import pytest

from segmend.core.tables import write_json, write_rows, write_table


@dataclass
class Measured:
    case: str
    mm: float


def test_json_gives_back_what_was_written(tmp_path):
    content = {"b": [1, 2.5, None], "a": {"ü": "é"}}
    write_json(tmp_path / "a.json", content)
    assert list(json.loads((tmp_path / "a.json").read_text("utf-8")).items()) == list(content.items())
    assert (tmp_path / "a.json").read_text("utf-8").endswith("}\n")


def test_json_never_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"mean": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_table_keeps_all_digits_and_has_no_index(tmp_path):
    write_table(tmp_path / "a.csv", pd.DataFrame({"x": [1 / 3, float("nan")], "name": ["a,b", ""]}))
    assert (tmp_path / "a.csv").read_text() == '\nx,name\n0.3333333333333333,"a,b"\n,\n'.lstrip()


def test_rows_have_six_digits_in_the_file_and_all_in_the_table(tmp_path):
    table = write_rows(tmp_path / "a.csv", Measured, [Measured("a", 1 / 3), Measured("b", float("nan"))])
    assert (tmp_path / "a.csv").read_text() == "case,mm\na,0.333333\nb,\n"
    assert table["mm"][0] == 1 / 3


def test_no_rows_leave_the_columns(tmp_path):
    assert write_rows(tmp_path / "a.csv", Measured, []).empty
    assert (tmp_path / "a.csv").read_text() == "case,mm\n"
