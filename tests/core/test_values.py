from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from segmend.core.values import canonical, described, example, names_among

WHOLE, NUMBERS, NAMES, FILES = Sequence[int] | None, Sequence[float] | Literal["native"], list[str] | None, list[Path]
RUNS = Path | list[Path] | None


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["16", "24", "8"],
            ["16,24,8"],
            ["16, 24, 8"],
            ["16 24 8"],
            ["16x24x8"],
            ["16 x 24 x 8"],
            ["16\u00d724\u00d78"],
        ),
        *(["16;24;8"], ["[16,24,8]"], ["[16, 24, 8]"], ["[16,", "24,", "8]"], ["(16, 24, 8)"], ["16,", "24,", "8"]),
        *(["016", "24.0", "8"], ["[16 24 8]"]),
    ],
)
def test_lists_of_numbers_in_any_spelling(words):
    assert yaml.safe_load(canonical(words, WHOLE)) == [16, 24, 8]
    assert [float(side) for side in yaml.safe_load(canonical(words, NUMBERS))] == [16, 24, 8]


@pytest.mark.parametrize(
    ("words", "kind", "value"),
    [
        (["1"], WHOLE, [1]),
        (["-1", "-2"], WHOLE, [-1, -2]),
        (["0.5,1.25"], NUMBERS, [0.5, 1.25]),
        (["native"], NUMBERS, "native"),
        (["null"], WHOLE, None),
        (["1e3"], int, 1000),
        (["+5"], int, 5),
        (["inf"], float, float("inf")),
        (["yes"], bool, True),
        (["2"], Literal[2, 3] | None, 2),
        (["4"], int | Path, 4),
        (["cases.txt"], int | Path, "cases.txt"),
        (["3"], Sequence[int] | int, 3),
        (["[[1,2],[3,4]]"], Sequence[Sequence[int] | int], [[1, 2], [3, 4]]),
        (["relu"], tuple | str, "relu"),
        (["[relu, {inplace: true}]"], tuple | str, ["relu", {"inplace": True}]),
        (["[{a: 1}]"], Sequence[dict], [{"a": 1}]),
        (["1", "2"], Any, [1, 2]),
    ],
)
def test_other_values(words, kind, value):
    assert yaml.safe_load(canonical(words, kind)) == value


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["1", "2"], ["1", "2"]),
        (["03"], ["03"]),
        (["[1, 2]"], ["1", "2"]),
        (["['1','2']"], ["1", "2"]),
        (['["1", "a, b"]'], ["1", "a, b"]),
        (["[anna, null]"], ["anna", "null"]),
        (["50 %, 10 pixels", "yes"], ["50 %, 10 pixels", "yes"]),
    ],
)
def test_names_are_text_whatever_yaml_takes_them_for(words, names):
    assert json.loads(canonical(words, NAMES)) == names


def test_files_of_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a,b").touch()
    assert json.loads(canonical(["c,d", "e"], FILES)) == ["c", "d", "e"]
    assert json.loads(canonical(["a,b"], FILES)) == ["a,b"]
    assert canonical(["a,b"], RUNS) == "a,b"
    assert json.loads(canonical(["[R1, R2]"], RUNS)) == ["R1", "R2"]
    assert json.loads(canonical(["R1", "R2"], RUNS)) == ["R1", "R2"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        *((["16,,16"], WHOLE), (["16.5"], WHOLE), (["[1,2"], WHOLE), (["["] * 20000, WHOLE), (["16", "x"], WHOLE)),
        *(
            (["coarse"], NUMBERS),
            (["nan"], float),
            ([""], float),
            (["1", "2"], float),
            (["maybe"], bool),
            (["4"], Literal[2]),
        ),
        *((["9" * 5000], int), (["1e300"], int), ([""], Path), (["a", "b"], Path), (["[a"], NAMES)),
    ],
)
def test_what_does_not_fit(words, kind):
    with pytest.raises(ValueError, match="is not "):
        canonical(words, kind)


def test_types_in_words():
    assert described(WHOLE) == "whole numbers"
    assert described(NUMBERS) == "native or numbers"
    assert described(Literal["a", "b"] | None) == "a or b"
    assert described(RUNS) == "files or folders or a file or folder"
    assert example(WHOLE) == "16 16 16"
    assert example(Literal["a"]) == ""


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a,b"], ["a", "b"]),
        (["a b"], ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (["50 %, 10 pixels"], ["50 %, 10 pixels"]),
        (["50 %, 10 pixels", "a"], ["50 %, 10 pixels", "a"]),
        (["a;c"], ["a;c"]),
        (["nobody knows"], ["nobody knows"]),
        ([1], ["1"]),
    ],
)
def test_names_between_commas(given, names):
    assert names_among(given, ["a", "b", "1", "50 %, 10 pixels"]) == names
