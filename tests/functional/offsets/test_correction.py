from __future__ import annotations

import math

import pytest

from segmend.functional.offsets.correction import (
    MeasuredOffset,
    moderated_errors,
    scatter_ratios,
    shrink_offsets,
    teacher_bias,
)
from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.shrinkage import TeacherBias


def measured(case, offset, *, expert=False, error=0.1, kind=(1, None), annotator="", contrast=5.0):
    estimate = OffsetEstimate(offset, error, (offset - 1, offset + 1, offset, offset), 0.0, contrast)
    return MeasuredOffset(case, annotator, expert, kind, estimate)


def corrected(labels, *, hierarchical, least_ratio=None):
    return shrink_offsets(labels, teacher_bias(labels, least_ratio or {}), hierarchical=hierarchical)


EXPERTS = [measured(f"e{number}", 2.0 + jitter, expert=True) for number, jitter in enumerate((-0.1, 0.0, 0.1))]


def test_expert_labels_are_not_shifted_but_give_the_bias():
    found = corrected([*EXPERTS, measured("a", 5.0), measured("b", -3.0)], hierarchical=False)
    assert [each.measured.case for each in found] == ["a", "b"]
    assert [each.offset for each in found] == pytest.approx([3.0, -5.0], abs=0.05)
    assert [each.bias for each in found] == pytest.approx([2.0, 2.0], abs=0.05)


def test_without_expert_labels_the_bias_is_the_median():
    found = corrected([measured("a", 5.0), measured("b", 2.0), measured("c", 1.0)], hierarchical=False)
    assert [each.bias for each in found] == [2.0] * 3
    assert [each.offset for each in found] == [3.0, 0.0, -1.0]


def test_without_expert_labels_only_clear_offsets_are_corrected():
    """The accuracy of the model is unknown then; expert labels whose surfaces it locates show it."""
    noisy = [measured(f"n{number}", offset, error=1.0) for number, offset in enumerate((2.0, -2.0, 1.5, -1.5) * 5)]
    far = [measured(f"f{number}", offset, error=1.0) for number, offset in enumerate((9.0, -9.0) * 10)]
    expert = [measured(f"e{number}", 0.0, error=1.0, expert=True) for number in range(4)]

    def kept(labels, given):
        found = corrected([*labels, *given], hierarchical=True)
        return sum(abs(each.offset) for each in found) / sum(abs(each.estimate.offset) for each in labels)

    assert kept(noisy, []) == 0
    assert kept(noisy, expert) > 0.4
    assert kept(far, []) > 0.9


def test_an_uncertain_offset_is_shrunk_towards_the_mean_of_its_annotator():
    sure = [measured(f"s{number}", 6.0 + 0.1 * (number % 5), annotator="x") for number in range(30)]
    odd = measured("odd", -2.0, error=5.0, annotator="x")
    found = {each.measured.case: each for each in corrected([*EXPERTS, *sure, odd], hierarchical=True)}
    assert found["odd"].annotator_mean == pytest.approx(4.0, abs=0.3)
    assert found["odd"].offset == pytest.approx(3.3, abs=0.2)  # not 4: it may be a correct label, too
    plain = {each.measured.case: each.offset for each in corrected([*EXPERTS, *sure, odd], hierarchical=False)}
    assert plain["odd"] == pytest.approx(-4.0, abs=0.1)


def test_scatter_on_expert_labels_makes_all_others_uncertain():
    lost = [measured(f"e{number}", offset, expert=True) for number, offset in enumerate((-4.0, 4.0, -5.0, 5.0))]
    noisy = [measured(name, offset) for name, offset in (("a", 2.0), ("b", -2.0), ("c", 1.0))]
    steady = corrected([*EXPERTS, *noisy], hierarchical=True)
    shaken = corrected([*lost, *noisy], hierarchical=True)

    def spread(found):
        return max(each.offset for each in found) - min(each.offset for each in found)

    assert spread(shaken) < spread(steady) / 2


def test_the_scatter_of_expert_surfaces_at_the_first_evaluation_is_a_lower_bound():
    """In the end a network has memorised its few expert labels, and locates them whatever it has learned of others."""
    lost = [measured(f"e{number}", offset, expert=True) for number, offset in enumerate((-4.0, 4.0, -5.0, 5.0))]
    noisy = [measured(name, offset) for name, offset in (("a", 2.0), ("b", -2.0), ("c", 1.0))]
    first = scatter_ratios([*lost, *noisy])
    assert first == {(1, None): pytest.approx(5.2 / 0.1, rel=0.03)}
    later, warned = (corrected([*EXPERTS, *noisy], hierarchical=True, least_ratio=r) for r in ({}, first))
    assert max(abs(each.offset) for each in later) > 2
    assert [each.offset for each in warned] == [0.0] * 3
    assert scatter_ratios(noisy) == scatter_ratios(lost) == {}


def test_a_model_that_has_become_more_certain_of_all_labels_corrects_them_again():
    lost = [measured(f"e{number}", offset, error=3.0, expert=True) for number, offset in enumerate((-4.0, 4.0, -5.0))]
    noisy = {"a": 2.0, "b": -2.0, "c": 1.0, "d": 3.0}
    first = scatter_ratios([*lost, *(measured(name, offset, error=3.0) for name, offset in noisy.items())])
    assert first[1, None] > 1
    sure, unsure = (
        corrected(
            [*EXPERTS, *(measured(name, offset, error=error) for name, offset in noisy.items())],
            hierarchical=True,
            least_ratio=first,
        )
        for error in (0.1, 2.0)
    )
    assert max(abs(each.offset) for each in sure) > 2
    assert max(abs(each.offset) for each in unsure) < 0.5


def test_small_offsets_are_left_alone_where_most_labels_are_correct():
    offsets = {f"r{number}": 2.0 + offset for number, offset in enumerate((0.5, -0.5, 0.4, -0.3) * 5)}
    offsets |= {"wide": -3.0, "tight": 7.0}
    labels = [*EXPERTS, *(measured(case, offset, error=0.4) for case, offset in offsets.items())]
    moved, left = (
        {each.measured.case: each.offset for each in corrected(labels, hierarchical=hierarchical)}
        for hierarchical in (False, True)
    )
    assert max(abs(left[f"r{number}"]) for number in range(20)) < 0.2
    assert abs(moved["r0"]) == pytest.approx(0.5, abs=0.05)
    assert (left["wide"], left["tight"]) == pytest.approx((moved["wide"], moved["tight"]), abs=0.4)


def test_each_kind_of_surface_has_its_own_bias_and_means():
    wide, tight = (
        [measured(f"{case}", offset, kind=(1, other), expert=case == "e") for case, offset in drawn.items()]
        for other, drawn in ((0, {"e": 0.0, "a": 3.0, "b": 3.0}), (2, {"e": 1.0, "a": -2.0, "b": -2.0}))
    )
    found = corrected([*wide, *tight], hierarchical=True)
    assert {each.measured.kind: round(each.annotator_mean, 1) for each in found} == {(1, 0): 3.0, (1, 2): -3.0}


def test_a_class_that_the_model_does_not_detect_yet_stays():
    blind = [measured(case, 10.0 + number, contrast=1.0) for number, case in enumerate("abc")]
    found = corrected(blind, hierarchical=True)
    assert [each.offset for each in found] == [0.0] * 3
    assert all(math.isnan(each.error) for each in found)
    # A few faint objects among many that are seen are measured like these.
    faint = measured("h", 5.0, contrast=1.0)
    found = corrected([*EXPERTS, *[measured(case, 5.0) for case in "defg"], faint], hierarchical=True)
    assert [each.offset for each in found] == pytest.approx([3.0] * 5, abs=0.05)


def test_a_single_undetected_surface_stays_and_has_no_influence():
    lost = [measured("lost", 0.0, error=math.inf), measured("e", 0.0, error=math.inf, expert=True)]
    found = {each.measured.case: each for each in corrected([*EXPERTS, measured("a", 5.0), *lost], hierarchical=True)}
    assert (found["lost"].offset, found["a"].offset) == (0.0, pytest.approx(3.0, abs=0.05))
    assert math.isnan(found["lost"].error)


def test_errors_that_are_nearly_0_by_chance_are_moderated():
    # Without the mean error of all, the first would keep all of its distance to the others.
    lucky, others = measured("a", 4.0, error=0.001), [measured(f"n{n}", 2.0 + n % 2, error=2.0) for n in range(8)]
    found = corrected([*EXPERTS, lucky, *others], hierarchical=True)
    assert found[0].error > 0.5


def test_sides_keep_their_differences():
    (found,) = corrected([*EXPERTS, measured("a", 5.0)], hierarchical=False)[:1]
    assert found.by_side == pytest.approx((2.0, 4.0, 3.0, 3.0), abs=0.05)


class TestBias:
    def test_is_the_mean_of_expert_labels_and_their_scatter(self):
        noisy = [measured("a", 9.0, error=0.3), measured("b", -9.0, error=0.4)]
        scattered = [measured(f"e{n}", 2.0 + offset, error=0.3, expert=True) for n, offset in enumerate((-4.0, 4.0))]
        # Their squares sum to 32, with one degree of freedom, of which noise explains 0.09.
        ((kind, bias),) = teacher_bias([*scattered, *noisy]).items()
        assert kind == (1, None)
        assert (bias.mean, bias.scatter) == (pytest.approx(2.0), pytest.approx(math.sqrt(32 - 0.09)))

    def test_without_expert_labels_is_the_median_with_a_scatter_of_twice_the_typical_error(self):
        noisy = [
            measured(name, offset, error=e) for name, offset, e in (("a", 5.0, 1.0), ("b", 2.0, 1.0), ("c", 1.0, 2.0))
        ]
        assert teacher_bias(noisy) == {(1, None): TeacherBias(2.0, 0.0, pytest.approx(2 * math.sqrt(2.0)))}

    def test_scatters_by_no_less_than_the_ratio_times_the_typical_error(self):
        noisy = [measured("a", 5.0, error=0.5), measured("b", 2.0, error=0.5)]
        assert teacher_bias([*EXPERTS, *noisy], {(1, None): 3.0})[1, None].scatter == pytest.approx(1.5)
        assert teacher_bias([*EXPERTS, *noisy], {(2, None): 3.0})[1, None].scatter == 0.0

    def test_is_only_that_of_kinds_with_detected_noisy_labels(self):
        other = [measured("a", 1.0, kind=(2, None), contrast=1.0), measured("b", 1.0, kind=(3, None))]
        assert set(teacher_bias([*EXPERTS, *other])) == {(3, None)}


def test_moderated_errors_by_hand():
    # Variances 1 and 7, with the mean 4, become 2.5 and 5.5.
    labels = [measured("a", 0.0, error=1.0), measured("b", 0.0, error=math.sqrt(7))]
    assert moderated_errors(labels) == pytest.approx([math.sqrt(2.5), math.sqrt(5.5)])
    assert moderated_errors([]) == []
