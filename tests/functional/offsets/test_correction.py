from __future__ import annotations

import math
from dataclasses import replace

import pytest

from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.hierarchy import Measured, corrected, sampling_weights, scatter_ratios, trusts


def measured(case, offset, *, expert=False, error=0.1, cls=1, neighbour=None, annotator="", contrast=5.0):
    seen = OffsetEstimate(offset, error, (offset - 1, offset + 1, offset, offset), 0.0, contrast)
    return Measured(case, annotator, expert, cls, neighbour, seen)


EXPERTS = [measured(f"e{number}", 2.0 + jitter, expert=True) for number, jitter in enumerate((-0.1, 0.0, 0.1))]


def test_expert_labels_are_not_moved_but_tell_the_bias():
    found = corrected([*EXPERTS, measured("a", 5.0), measured("b", -3.0)], hierarchical=False)
    assert [each.measured.case for each in found] == ["a", "b"]
    assert [each.offset for each in found] == pytest.approx([3.0, -5.0], abs=0.05)
    assert [each.bias for each in found] == pytest.approx([2.0, 2.0], abs=0.05)


def test_without_expert_labels_as_many_are_taken_to_be_wide_as_tight():
    found = corrected([measured("a", 5.0), measured("b", 2.0), measured("c", 1.0)], hierarchical=False)
    assert [each.bias for each in found] == [2.0] * 3
    assert [each.offset for each in found] == [3.0, 0.0, -1.0]


def test_without_expert_labels_only_what_stands_out_is_undone():
    """Nothing tells how far a model can be believed; expert labels that are found again do."""
    noisy = [measured(f"n{number}", offset, error=1.0) for number, offset in enumerate((2.0, -2.0, 1.5, -1.5) * 5)]
    far = [measured(f"f{number}", offset, error=1.0) for number, offset in enumerate((9.0, -9.0) * 10)]
    expert = [measured(f"e{number}", 0.0, error=1.0, expert=True) for number in range(4)]

    def kept(labels, given):
        found = corrected([*labels, *given], hierarchical=True)
        return sum(abs(each.offset) for each in found) / sum(abs(each.seen.offset) for each in labels)

    assert kept(noisy, []) == 0
    assert kept(noisy, expert) > 0.4
    assert kept(far, []) > 0.9


def test_what_is_uncertain_is_pulled_to_the_annotators_mean():
    sure = [measured(f"s{number}", 6.0 + 0.1 * (number % 5), annotator="x") for number in range(30)]
    odd = measured("odd", -2.0, error=5.0, annotator="x")
    found = {each.measured.case: each for each in corrected([*EXPERTS, *sure, odd], hierarchical=True)}
    assert found["odd"].annotator_mean == pytest.approx(4.0, abs=0.3)
    assert found["odd"].offset == pytest.approx(3.3, abs=0.2)  # not 4: it may be a right label, too
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


def test_what_expert_surfaces_scattered_by_at_the_first_look_is_not_forgotten():
    """By the last look a network knows its few expert labels by heart, and finds them whatever it knows of others."""
    lost = [measured(f"e{number}", offset, expert=True) for number, offset in enumerate((-4.0, 4.0, -5.0, 5.0))]
    noisy = [measured(name, offset) for name, offset in (("a", 2.0), ("b", -2.0), ("c", 1.0))]
    first = scatter_ratios([*lost, *noisy])
    assert first == {(1, None): pytest.approx(5.2 / 0.1, rel=0.03)}
    later, warned = (corrected([*EXPERTS, *noisy], hierarchical=True, least_ratio=r) for r in ({}, first))
    assert max(abs(each.offset) for each in later) > 2
    assert [each.offset for each in warned] == [0.0] * 3
    assert scatter_ratios(noisy) == scatter_ratios(lost) == {}


def test_a_model_that_has_become_surer_of_all_labels_is_believed_again():
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


def test_labels_that_may_be_right_are_left_alone_where_most_are():
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


class TestTrusts:
    SEEN = (*(measured(f"e{number}", 2.0, error=0.4, expert=True) for number in range(3)),)

    def test_is_the_inverse_variance_against_that_of_expert_surfaces(self):
        noisy = [measured("sharp", 5.0, error=0.2), measured("blurred", -5.0, error=math.sqrt(0.04 + 1.2))]
        # Errors go halfway, as variances, to the mean of 0.64.
        assert trusts([*self.SEEN, *noisy]) == {
            ("sharp", (1, None)): pytest.approx(0.16 / 0.34),
            ("blurred", (1, None)): pytest.approx(0.16 / 0.94),
        }

    def test_none_is_trusted_more_than_expert_labels(self):
        noisy = [measured("a", 5.0, error=0.1), measured("b", 5.0, error=0.1)]
        assert set(trusts([*self.SEEN, *noisy]).values()) == {1.0}

    def test_nor_at_all_if_it_is_not_seen(self):
        found = trusts([*self.SEEN, measured("a", 5.0, error=0.4), measured("lost", 0.0, error=math.inf)])
        assert found == {("a", (1, None)): pytest.approx(1.0), ("lost", (1, None)): 0.0}

    def test_nothing_is_told_of_what_cannot_be_compared(self):
        noisy = [measured("a", 5.0), measured("b", 4.0)]
        assert trusts(noisy) == trusts(self.SEEN) == {}
        assert trusts([replace(each, seen=replace(each.seen, contrast=1.0)) for each in (*self.SEEN, *noisy)]) == {}


class TestSamplingWeights:
    def test_trusted_labels_are_drawn_as_often_as_expert_ones(self):
        assert sampling_weights(dict.fromkeys("abcdef", 1.0), 2) == pytest.approx(dict.fromkeys("abcdef", 1.0))

    def test_labels_that_are_not_trusted_fill_half_of_the_batch(self):
        assert sampling_weights(dict.fromkeys("abcdef", 0.0), 2) == pytest.approx(dict.fromkeys("abcdef", 1 / 3))
        assert sum(sampling_weights({"a": 1e-9, "b": 0.0, "c": 0.0}, 2).values()) == pytest.approx(2.0)

    def test_in_between_odds_go_geometrically_and_each_label_by_its_own(self):
        # 16 labels beside one expert label: odds of 16 to the power of a half.
        drawn = sampling_weights({**dict.fromkeys("abcdefgh", 0.75), **dict.fromkeys("ijklmnop", 0.25)}, 1)
        assert sum(drawn.values()) == pytest.approx(4.0)
        assert drawn["a"] == pytest.approx(3 * drawn["p"])

    def test_beside_more_expert_labels_all_are_drawn_as_often_as_there_are(self):
        assert sampling_weights({"a": 0.1, "b": 0.3}, 8) == pytest.approx({"a": 0.5, "b": 1.5})


def test_surfaces_between_the_same_classes_are_alike_and_no_others():
    wide, tight = (
        [measured(f"{case}", offset, cls=1, neighbour=other, expert=case == "e") for case, offset in drawn.items()]
        for other, drawn in ((0, {"e": 0.0, "a": 3.0, "b": 3.0}), (2, {"e": 1.0, "a": -2.0, "b": -2.0}))
    )
    found = corrected([*wide, *tight], hierarchical=True)
    assert {each.measured.kind: round(each.annotator_mean, 1) for each in found} == {(1, 0): 3.0, (1, 2): -3.0}


def test_what_the_model_does_not_see_yet_stays():
    blind = [measured(case, 10.0 + number, contrast=1.0) for number, case in enumerate("abc")]
    found = corrected(blind, hierarchical=True)
    assert [each.offset for each in found] == [0.0] * 3
    assert all(math.isnan(each.error) for each in found)
    # A few faint objects among many that are seen are measured like these.
    faint = measured("h", 5.0, contrast=1.0)
    found = corrected([*EXPERTS, *[measured(case, 5.0) for case in "defg"], faint], hierarchical=True)
    assert [each.offset for each in found] == pytest.approx([3.0] * 5, abs=0.05)


def test_a_single_surface_that_is_not_seen_stays_and_tells_nothing():
    lost = [measured("lost", 0.0, error=math.inf), measured("e", 0.0, error=math.inf, expert=True)]
    found = {each.measured.case: each for each in corrected([*EXPERTS, measured("a", 5.0), *lost], hierarchical=True)}
    assert (found["lost"].offset, found["a"].offset) == (0.0, pytest.approx(3.0, abs=0.05))
    assert math.isnan(found["lost"].error)


def test_errors_that_are_nearly_0_by_chance_are_not_believed():
    # Without a mean error beside its own, the first would keep all of its distance to the others.
    lucky, others = measured("a", 4.0, error=0.001), [measured(f"n{n}", 2.0 + n % 2, error=2.0) for n in range(8)]
    found = corrected([*EXPERTS, lucky, *others], hierarchical=True)
    assert found[0].error > 0.5


def test_sides_keep_their_differences():
    (found,) = corrected([*EXPERTS, measured("a", 5.0)], hierarchical=False)[:1]
    assert found.by_side == pytest.approx((2.0, 4.0, 3.0, 3.0), abs=0.05)


def test_the_row_tells_the_neighbour_where_it_matters():
    labels = [replace(EXPERTS[1], neighbour=None), measured("a", 3.0)]
    alone, beside = (
        corrected([replace(each, neighbour=other) for each in labels], hierarchical=False)[0].row()
        for other in (None, 0)
    )
    assert "beside" not in alone
    assert beside["beside"] == 0
    assert (alone["measured_mm"], alone["teacher_bias_mm"], alone["offset_mm"]) == (3.0, 2.0, 1.0)
