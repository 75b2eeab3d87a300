from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.functional.ramps import ema_decay, keep_fraction, linear_ramp, rounds, sigmoid_ramp

TOTAL = 8000


class TestSigmoidRamp:
    @pytest.mark.parametrize(
        ("step", "weight"), [(0, 0.00674), (2000, 0.0601), (4000, 0.2865), (6000, 0.7316), (8000, 1)]
    )
    def test_of_the_plil_paper(self, step, weight):
        assert sigmoid_ramp(step / TOTAL) == pytest.approx(weight, abs=5e-5)

    @pytest.mark.parametrize(("step", "weight"), [(0, 0.00674), (2000, 0.1025), (4000, 0.5420), (6000, 1), (7000, 1)])
    def test_of_the_plil_code(self, step, weight):
        assert sigmoid_ramp(step / TOTAL, length=0.75, stairs=40) == pytest.approx(weight, abs=5e-5)

    def test_stairs_begin_at_the_steps_that_are_meant(self):
        # PLIL's code: min(t // 150, 40) / 40 in whole numbers, up to step 6000 of 8000.
        for step in range(TOTAL + 1):
            expected = math.exp(-5 * (1 - min(step // 150, 40) / 40) ** 2)
            assert sigmoid_ramp(step / TOTAL, length=0.75, stairs=40) == pytest.approx(expected), step

    def test_of_no_length_is_over_at_once(self):
        assert sigmoid_ramp(0.0, length=0.0) == 1
        assert sigmoid_ramp(0.0, length=0.0, stairs=5) == 1

    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.integers(0, 50))
    def test_never_falls_and_stays_within_its_ends(self, one, other, length, stairs):
        early, late = sorted([one, other])
        assert math.exp(-5) <= sigmoid_ramp(early, length, stairs) <= sigmoid_ramp(late, length, stairs) <= 1
        assert sigmoid_ramp(1.0, length, stairs) == 1


@pytest.mark.parametrize(
    ("progress", "weight"), [(0, 0), (0.1, 0), (0.2, 0.25), (0.3, 0.5), (0.4, 0.75), (0.5, 1), (0.9, 1), (1, 1)]
)
def test_linear_ramp(progress, weight):
    assert linear_ramp(progress, 0.1, 0.5) == pytest.approx(weight)


def test_linear_ramp_without_length_is_a_step():
    assert [linear_ramp(progress, 0.3, 0.3) for progress in (0.0, 0.29, 0.3, 1.0)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("step", "decay"), [(0, 0), (1, 0.5), (4, 0.8), (9, 0.9), (98, 98 / 99), (99, 0.99), (100, 0.99), (10**6, 0.99)]
)
def test_ema_decay(step, decay):
    assert ema_decay(step) == pytest.approx(decay)


def test_ema_decay_stops_at_the_one_that_is_given():
    assert [ema_decay(step, 0.6) for step in (0, 1, 2, 9)] == pytest.approx([0, 0.5, 0.6, 0.6])


@pytest.mark.parametrize(
    ("progress", "length", "exponent", "share"),
    [(0, 0.5, 1, 1), (0.25, 0.5, 1, 0.9), (0.25, 0.5, 2, 0.95), (0.5, 0.5, 1, 0.8), (1, 0.5, 3, 0.8), (0, 0, 1, 0.8)],
)
def test_kept_share(progress, length, exponent, share):
    assert keep_fraction(progress, 0.2, length, exponent) == pytest.approx(share)


class TestRounds:
    def test_by_hand(self):
        assert [rounds(progress, 0.2, 0.3) for progress in (-0.1, 0, 0.19, 0.2, 0.49, 0.5, 0.79, 0.8)] == [
            *(0, 0, 0),
            *(1, 1),
            *(2, 2),
            3,
        ]

    @pytest.mark.parametrize("total", [40, 120, 700])
    def test_begin_at_the_steps_that_are_meant(self, total):
        begun = [
            step for step in range(total) if rounds(step / total, 0.1, 0.05) > rounds((step - 1) / total, 0.1, 0.05)
        ]
        assert begun == [step for step in range(total) if step * 20 % total == 0 and step * 10 >= total]
