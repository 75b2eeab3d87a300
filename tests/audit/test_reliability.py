from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.audit.reliability import Reliability, share_below


def test_error_and_bias_by_hand():
    found = Reliability("expert labels", [0.9, 0.5, 0.7], [0.8, 0.6, 0.4])
    assert found.bias == pytest.approx((0.1 - 0.1 + 0.3) / 3)
    assert found.error == pytest.approx((0.1 + 0.1 + 0.3) / 3)


def test_without_a_case_nothing_is_known():
    assert math.isnan(Reliability("given labels", [], []).bias)
    assert math.isnan(Reliability("given labels", [], []).error)


def test_share_and_its_limits_by_hand():
    assert share_below([0.4, 0.77, 0.83, 0.95]) == (0.5, 0.25, 0.75)
    assert share_below([]) == (0, 0, 0)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_the_share_lies_between_its_limits(expected):
    share, low, high = share_below(expected)
    assert 0 <= low <= share <= high <= 1
