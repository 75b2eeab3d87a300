from __future__ import annotations

import pytest

from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.hierarchy import Measured
from segmend.methods.components.first_look import FirstLook

KIND = (1, None)


def measured(case, error, *, expert=False, offset=0.0):
    seen = OffsetEstimate(offset, error, (offset,) * 4, 0.0, 5.0)
    return Measured(case, "", expert, *KIND, seen)


def look(*looks) -> FirstLook:
    first = FirstLook()
    for of_cases in looks:
        first.take([measured("e", 0.1, expert=True), *(measured(case, error) for case, error in of_cases.items())])
    return first


def test_what_was_seen_once_stays_as_it_was_seen():
    first = look({"a": 1.0, "b": 1.0}, {"a": 0.1, "b": 0.1, "c": 0.1})
    assert first.trusts == {
        ("a", KIND): pytest.approx(0.01),
        ("b", KIND): pytest.approx(0.01),
        ("c", KIND): pytest.approx(1.0),
    }


def test_so_does_the_scatter_of_expert_surfaces():
    first = FirstLook()
    lost = [measured(f"e{offset}", 0.1, expert=True, offset=offset) for offset in (-4.0, 4.0)]
    found = [measured(f"e{offset}", 0.1, expert=True) for offset in (-4.0, 4.0)]
    first.take([*lost, measured("a", 0.1)])
    ratio = first.ratios[KIND]
    first.take([*found, measured("a", 0.1)])
    assert first.ratios == {KIND: ratio}
    assert ratio > 50


def test_what_was_not_seen_may_be_seen_later():
    first = look({"a": 0.1, "b": float("inf")}, {"a": 0.1, "b": 0.1})
    assert first.trusts["b", KIND] == pytest.approx(1.0)


def test_labels_without_a_surface_are_drawn_as_the_others_are():
    weights = look({"a": 0.1, "b": 0.1}).sampling_weights(["a", "b", "empty"], 1)
    assert weights == pytest.approx({"a": 1.0, "b": 1.0, "empty": 1.0})


def test_without_expert_labels_nothing_is_known():
    first = FirstLook()
    first.take([measured("a", 0.1), measured("b", 0.1)])
    assert first.sampling_weights(["a", "b"], 0) == {}


def test_checkpoints_hold_it():
    first, again = look({"a": 1.0, "b": 0.1}), FirstLook()
    again.load_state_dict(first.state_dict())
    assert (again.ratios, again.trusts) == (first.ratios, first.trusts)
