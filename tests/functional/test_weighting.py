from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.functional.weighting import bounded_softmax

SCORES = st.lists(st.floats(-50, 50), min_size=1, max_size=6)


def weights(scores: list[float], bound: float = 2.0, counted: list[bool] | None = None) -> torch.Tensor:
    return bounded_softmax(torch.tensor(scores), bound, torch.tensor(counted or [True] * len(scores)))


def test_by_hand():
    # tanh(atanh(0.5)) = 1/2, so the first counts e times as much as each of the others.
    expected = torch.tensor([math.e, 1.0, 1.0]) / (math.e + 2)
    assert_close(weights([math.atanh(0.5), 0.0, 0.0]), expected)


@pytest.mark.parametrize(("size", "largest"), [(2, 0.9820), (4, 0.9479)])
def test_no_sample_outweighs_another_without_bound(size, largest):
    assert weights([1e6, *[-1e6] * (size - 1)])[0].item() == pytest.approx(largest, abs=5e-5)


@given(SCORES)
def test_without_a_bound_to_part_in_all_are_alike(scores):
    assert_close(weights(scores, 0.0), torch.full((len(scores),), 1 / len(scores)))


@given(SCORES, st.floats(0, 5), st.data())
def test_add_up_to_1_over_those_that_count(scores, bound, data):
    counted = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    result = weights(scores, bound, counted)
    assert result.sum().item() == pytest.approx(1.0 if any(counted) else 0.0, abs=1e-5)
    assert not result[~torch.tensor(counted)].any()
    rest = [score for score, counts in zip(scores, counted, strict=True) if counts]
    if rest:
        assert_close(result[torch.tensor(counted)], weights(rest, bound), atol=1e-5, rtol=1e-4)
    assert_close(weights(scores[::-1], bound, counted[::-1]), result.flip(0))
