from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from segmend.engine.revision_record import Record, is_finite

RECORD = Record(
    "Some",
    3,
    {"first": {"a": 2}},
    {"regions": ["b"]},
    {"chance": {"a": [0.5], "b": [0.1, 1]}},
    [{"case": "a", "why": "so"}],
    {"a": 0.0},
)


def test_survives_json():
    assert Record.from_json(json.loads(json.dumps(asdict(RECORD))), ("first",)) == RECORD


def test_holds_what_was_revised():
    assert RECORD.holds("a", "first")
    assert RECORD.holds("b", "regions")
    assert not RECORD.holds("b", "first")
    assert not RECORD.holds("a", "regions")
    assert not RECORD.holds("a", "chance")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"step": True}, "whole number"),
        ({"maps": {"regions": [1]}}, "name of its case"),
        ({"values": {"chance": {"a": [float("inf")]}}}, "finite"),
        ({"sampling_weights": {"a": -1}}, "0 or more"),
        ({"report": [{"why": "so"}]}, "lacks its case"),
    ],
)
def test_what_it_cannot_be(change, problem):
    with pytest.raises(ValueError, match=problem):
        Record.from_json(asdict(RECORD) | change, ("first",))


@pytest.mark.parametrize(
    ("value", "finite"), [(1, True), (0.5, True), (float("nan"), False), ("1", False), (None, False)]
)
def test_finite_numbers(value, finite):
    assert is_finite(value) is finite
