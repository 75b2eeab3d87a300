from __future__ import annotations

import math
from dataclasses import replace

import pytest

from segmend.functional.offsets.correction import MeasuredOffset
from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.reliability import sampling_weights, surface_reliabilities


def measured(case, offset, *, error, expert=False):
    estimate = OffsetEstimate(offset, error, (offset,) * 4, 0.0, 5.0)
    return MeasuredOffset(case, "", expert, (1, None), estimate)


class TestSurfaceReliabilities:
    EXPERTS = (*(measured(f"e{number}", 2.0, error=0.4, expert=True) for number in range(3)),)

    def test_is_the_inverse_variance_against_that_of_expert_surfaces(self):
        noisy = [measured("sharp", 5.0, error=0.2), measured("blurred", -5.0, error=math.sqrt(0.04 + 1.2))]
        # Errors go halfway, as variances, to the mean of 0.64.
        assert surface_reliabilities([*self.EXPERTS, *noisy]) == {
            ("sharp", (1, None)): pytest.approx(0.16 / 0.34),
            ("blurred", (1, None)): pytest.approx(0.16 / 0.94),
        }

    def test_is_at_most_that_of_expert_labels(self):
        noisy = [measured("a", 5.0, error=0.1), measured("b", 5.0, error=0.1)]
        assert set(surface_reliabilities([*self.EXPERTS, *noisy]).values()) == {1.0}

    def test_is_0_if_it_is_not_detected(self):
        found = surface_reliabilities(
            [*self.EXPERTS, measured("a", 5.0, error=0.4), measured("lost", 0.0, error=math.inf)]
        )
        assert found == {("a", (1, None)): pytest.approx(1.0), ("lost", (1, None)): 0.0}

    def test_is_unknown_where_there_is_no_comparison(self):
        noisy = [measured("a", 5.0, error=0.1), measured("b", 4.0, error=0.1)]
        assert surface_reliabilities(noisy) == surface_reliabilities(self.EXPERTS) == {}
        assert (
            surface_reliabilities(
                [replace(each, estimate=replace(each.estimate, contrast=1.0)) for each in (*self.EXPERTS, *noisy)]
            )
            == {}
        )


class TestSamplingWeights:
    def test_reliable_labels_are_sampled_as_often_as_expert_ones(self):
        assert sampling_weights(dict.fromkeys("abcdef", 1.0), 2) == pytest.approx(dict.fromkeys("abcdef", 1.0))

    def test_unreliable_labels_fill_half_of_the_batch(self):
        assert sampling_weights(dict.fromkeys("abcdef", 0.0), 2) == pytest.approx(dict.fromkeys("abcdef", 1 / 3))
        assert sum(sampling_weights({"a": 1e-9, "b": 0.0, "c": 0.0}, 2).values()) == pytest.approx(2.0)

    def test_in_between_odds_are_interpolated_geometrically_and_each_label_by_its_own(self):
        # 16 noisy labels and one expert label: odds of 16 to the power of a half.
        drawn = sampling_weights({**dict.fromkeys("abcdefgh", 0.75), **dict.fromkeys("ijklmnop", 0.25)}, 1)
        assert sum(drawn.values()) == pytest.approx(4.0)
        assert drawn["a"] == pytest.approx(3 * drawn["p"])

    def test_where_expert_labels_are_the_majority_noisy_ones_are_sampled_by_their_number(self):
        assert sampling_weights({"a": 0.1, "b": 0.3}, 8) == pytest.approx({"a": 0.5, "b": 1.5})
