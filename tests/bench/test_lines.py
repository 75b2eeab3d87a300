from __future__ import annotations

import pytest
from refusals import raises

from segmend.bench.lines import Document
from segmend.core.errors import InputError


def test_values_are_plain_and_know_their_line(write_plan):
    path = write_plan("a: 1\nb:\n  c: [x, {d: 2.5}]\n  e: null\n")
    document = Document.read(path)
    assert document.content == {"a": 1, "b": {"c": ["x", {"d": 2.5}], "e": None}}
    assert document.where(("b", "c")) == f"{path} line 3"
    assert document.where(("b", "c", "1", "d")) == f"{path} line 3"
    assert document.where(("b", "e")) == f"{path} line 4"
    assert document.where(("b", "nothing")) == f"{path} line 2"


def test_anchors_stand_for_what_they_name(write_plan):
    assert Document.read(write_plan("a: &same [1, 2]\nb: *same\n")).content == {"a": [1, 2], "b": [1, 2]}


def test_lies_over_another_key_by_key(write_plan):
    base = Document.read(write_plan("train: {x: 1, y: 2}\nlist: [1, 2]\ngone: 3\nkept: 4\n", "base.yaml"))
    above = Document.read(write_plan("train:\n  y: 5\nlist: [3]\ngone: null\n"))
    both = above.over(base)
    assert both.content == {"train": {"x": 1, "y": 5}, "list": [3], "kept": 4}
    assert both.where(("train", "y")).endswith("plan.yaml line 2")
    assert both.where(("kept",)).endswith("base.yaml line 4")


def test_what_lies_over_nothing_may_remove_it_too(write_plan):
    assert Document.read(write_plan("a: {b: null, c: 1}")).over(Document({}, {})).content == {"a": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1\n", "not a mapping"),
        ("", "not a mapping"),
        ("a: [1\n", "not YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' stands twice"),
        ("a: !!python/object/apply:os.system ['true']\n", "not YAML"),
    ],
)
def test_refuses_what_is_no_plan(write_plan, text, problem):
    with pytest.raises(InputError, match=problem):
        Document.read(write_plan(text))


def test_names_line_and_likely_key(write_plan):
    document = Document.read(write_plan("train:\n  iteratons: 5\n"))
    with raises("unknown-name", match=r"line 2: 'iteratons'.*iterations"):
        document.check_keys(("train",), {"iterations", "patch"}, "an argument")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Document.read(tmp_path / "none.yaml")
