from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from segmend.core.errors import CODES, Code, InputError, did_you_mean, printable


def test_the_message_says_where_what_and_how_to_mend_it():
    error = InputError("cases.csv", "has no column 'case'", "add one.")
    assert str(error) == "cases.csv: has no column 'case'. Add one."
    assert (error.where, error.problem, error.remedy) == ("cases.csv", "has no column 'case'", "add one.")


def test_it_is_a_value_error_with_a_code():
    with pytest.raises(ValueError, match="twice") as error:
        raise InputError("cases.csv", "holds a case twice", "keep one", code="duplicate")
    assert error.value.code == "duplicate"
    assert InputError("width", "is 0", "give 1 or more").code == "invalid-value"


def test_every_code_is_explained():
    assert tuple(CODES) == get_args(Code)


def test_the_same_with_another_part_keeps_the_rest():
    error = InputError(Path("out"), "is full", "free space", ["a", "b"], code="no-space")
    other = error.but(remedy="wait")
    assert (other.where, other.is_path, other.problem, other.remedy) == ("out", True, "is full", "wait")
    assert (other.details, other.code, str(other)) == (("a", "b"), "no-space", "out: is full. Wait.\n  a\n  b")
    assert not error.but(where="out").is_path


def test_a_remedy_may_be_a_question():
    assert str(InputError("method", "is 'PLIK'", "did you mean PLIL?")) == "method: is 'PLIK'. Did you mean PLIL?"


def test_near_names_are_offered():
    assert did_you_mean("MeanTeachr", ["PLIL", "MeanTeacher", "AIDE"]) == "did you mean MeanTeacher?"


def test_otherwise_some_are_listed():
    assert did_you_mean("xyz", ["b", "a"]) == "known are a, b"
    assert did_you_mean("xyz", [f"case_{number:03d}" for number in range(51)]).endswith("case_048, case_049, ...")


def test_names_reach_no_terminal_as_commands():
    error = InputError("a\x1b[2Jb\x07\r\n", "is '\u202egnp.exe' \u2028 \x9b31m \ud800", "rename it")
    assert all(letter.isprintable() for letter in str(error))
    assert "a\\x1b[2Jb\\x07\\r\\n" in str(error)
    assert error.where == "a\x1b[2Jb\x07\r\n"


def test_names_of_any_language_stay_as_they_are():
    assert printable("Müller 太郎 Mu\u0308ller [red] $x$") == "Müller 太郎 Mu\u0308ller [red] $x$"
    assert printable("a\nb\t", keep="\n") == "a\nb\\t"
