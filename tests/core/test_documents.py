from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from refusals import raises

from segmend.core.documents import is_integer, is_number, read_yaml, yaml_text
from segmend.core.errors import InputError

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, this in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "a.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_values_are_plain_and_know_their_line(write):
    path = write("a: 1\nb:\n  c: [x, 2.5, true, null, 2024-01-31]\n")
    content, places = read_yaml(path)
    assert content == {"a": 1, "b": {"c": ["x", 2.5, True, None, "2024-01-31"]}}
    assert places["b", "c"] == f"{path} line 3"


@pytest.mark.parametrize(("text", "number"), [("1e-3", 0.001), ("1.0e-05", 1e-5), (".5", 0.5), ("-.inf", -math.inf)])
def test_numbers_as_people_and_as_libraries_write_them(write, text, number):
    assert read_yaml(write(f"a: {text}"))[0] == {"a": number}


def test_text_in_quotes_stays_text(write):
    assert read_yaml(write("a: '1e-3'\nb: \"007\""))[0] == {"a": "1e-3", "b": "007"}


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_key(write):
    assert read_yaml(write(b"\xef\xbb\xbfa: 1"))[0] == {"a": 1}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: !!python/object/apply:os.system ['true']", "only plain values are read"),
        ("a: !!python/name:os.system", "only plain values are read"),
        ("a: !!binary aGk=", "only plain values are read"),
        ("a: !!set {b}", "only plain values are read"),
        ("a: 1\na: 2", r"line 2: 'a' stands twice"),
        ("a: {b: 1, b: 2}", "'b' stands twice"),
        ("? [1]\n: 2", "key that is a list"),
        ("[" * 20000, "nested too deeply"),
        ("[" * 60 + "]" * 60, "more than 40 levels"),
        ("a: &a [*a]", "levels deep"),
        (LAUGHS, "more than 100000 values"),
        ("a: !!int x", "no int"),
        ("a: " + "9" * 5000, "no int"),
        ("a: b: c", "is not YAML"),
        ("--- 1\n--- 2", "is not YAML"),
        ("a: *nothing", "is not YAML"),
        (b"\xff\xfe", "cannot be read"),
        (b"a: \x00", "is not YAML"),
        ("#" * 2**20 + "\n#", "larger than 1 MiB"),
    ],
)
def test_what_is_not_plain_or_not_small_is_refused(write, content, problem):
    path = write(content)
    with pytest.raises(InputError, match=problem) as error:
        read_yaml(path)
    assert error.value.where.startswith(str(path))
    assert len(str(error.value)) < 600


def test_folders_and_missing_files_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml"):
        with raises("unreadable"):
            read_yaml(path)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    # Characters that YAML writes down as they are; the others become escapes, which are tried one by one.
    | st.text("abz01:.- e+\\\"'\n{}[]#&*!|>%@`é漢😀"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab1.:", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_what_is_written_is_read_as_the_same(tmp_path, value):
    (tmp_path / "a.yaml").write_text(yaml_text({"value": value}), encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml")[0] == {"value": value}


@given(PLAIN)
def test_yaml_text_is_what_other_readers_take_for_the_same(value):
    if not isinstance(value, float):
        assert yaml.safe_load(yaml_text({"value": value})) == {"value": value}


@pytest.mark.parametrize(
    ("value", "number", "integer"),
    [(1, True, True), (1.5, True, False), (True, False, False), (math.nan, False, False), (math.inf, False, False),
     ("1", False, False), (None, False, False)],
)  # fmt: skip
def test_true_and_nan_are_no_numbers(value, number, integer):
    assert is_number(value) is number
    assert is_integer(value) is integer
