from __future__ import annotations

import pytest

from segmend.functional.offsets.correction import MeasuredOffset
from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.methods.components.first_evaluation import FirstEvaluation

KIND = (1, None)


def measured(case, error, *, expert=False, offset=0.0):
    return MeasuredOffset(case, "", expert, KIND, OffsetEstimate(offset, error, (offset,) * 4, 0.0, 5.0))


def evaluated(*errors) -> FirstEvaluation:
    """The statistics after evaluations that have these standard errors by case."""
    first = FirstEvaluation()
    for of_cases in errors:
        first.update([measured("e", 0.1, expert=True), *(measured(case, error) for case, error in of_cases.items())])
    return first


def test_the_reliability_of_a_surface_is_that_of_its_first_evaluation():
    first = evaluated({"a": 1.0, "b": 1.0}, {"a": 0.1, "b": 0.1, "c": 0.1})
    assert first.reliabilities == {
        ("a", KIND): pytest.approx(0.01),
        ("b", KIND): pytest.approx(0.01),
        ("c", KIND): pytest.approx(1.0),
    }


def test_so_is_the_scatter_of_expert_surfaces():
    first = FirstEvaluation()
    lost = [measured(f"e{offset}", 0.1, expert=True, offset=offset) for offset in (-4.0, 4.0)]
    found = [measured(f"e{offset}", 0.1, expert=True) for offset in (-4.0, 4.0)]
    first.update([*lost, measured("a", 0.1)])
    ratio = first.scatter_ratios[KIND]
    first.update([*found, measured("a", 0.1)])
    assert first.scatter_ratios == {KIND: ratio}
    assert ratio > 50


def test_a_surface_may_be_detected_later():
    first = evaluated({"a": 0.1, "b": float("inf")}, {"a": 0.1, "b": 0.1})
    assert first.reliabilities["b", KIND] == pytest.approx(1.0)


def test_labels_without_a_surface_have_the_mean_reliability():
    weights = evaluated({"a": 0.1, "b": 0.1}).sampling_weights(["a", "b", "empty"], 1)
    assert weights == pytest.approx({"a": 1.0, "b": 1.0, "empty": 1.0})


def test_without_expert_labels_there_are_no_weights():
    first = FirstEvaluation()
    first.update([measured("a", 0.1), measured("b", 0.1)])
    assert first.sampling_weights(["a", "b"], 0) == {}


def test_checkpoints_hold_it():
    first, again = evaluated({"a": 1.0, "b": 0.1}), FirstEvaluation()
    again.load_state_dict(first.state_dict())
    assert (again.scatter_ratios, again.reliabilities) == (first.scatter_ratios, first.reliabilities)
