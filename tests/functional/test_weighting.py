from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.weighting import agreement, bounded_softmax, masked_mean, share_of_positive

SHAPES = arrays.array_shapes(max_dims=3, max_side=4)


def test_masked_mean_by_hand():
    assert masked_mean(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])).item() == 3.5


def test_weights_count_by_their_share():
    assert masked_mean(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0])).item() == 2.0


def test_a_mask_of_one_row_counts_for_every_row():
    values = torch.tensor([[1.0, 2.0], [3.0, 8.0]])
    assert masked_mean(values, torch.tensor([[False, True]])).item() == 5.0


def test_masked_mean_of_an_empty_mask_is_0_and_pulls_nowhere():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0
    assert values.grad.tolist() == [0, 0]


@given(st.data())
def test_masked_mean_is_the_mean_of_the_selected(data):
    shape = data.draw(SHAPES)
    values = data.draw(arrays.arrays(np.float32, shape, elements=st.floats(-100, 100, width=32)))
    mask = data.draw(arrays.arrays(np.bool_, shape))
    expected = values[mask].astype(np.float64).mean() if mask.any() else 0.0
    mean = masked_mean(torch.from_numpy(values), torch.from_numpy(mask))
    assert_close(mean.double(), torch.tensor(expected).double(), atol=1e-4, rtol=1e-5)


def test_agreement_of_the_one_parameter_network_by_hand():
    # logits (0, theta x), theta = 0, x = 1: l' = -/+ 1/2 for label 1/0, and V' = -1/2 for the clean label 1.
    logits = torch.zeros(1, 2, 2)
    drift = torch.tensor([0.0, -0.5]).view(1, 2, 1).expand(1, 2, 2)
    values = agreement(logits, drift, torch.tensor([[1, 0]]))
    assert_close(0.1 * values, torch.tensor([[0.025, -0.025]]))
    assert_close(share_of_positive(values), torch.tensor([[1.0, 0.0]]))
    opposite = agreement(logits, drift, torch.tensor([[0, 0]]))
    assert_close(share_of_positive(opposite), torch.zeros(1, 2))


def test_agreement_is_the_inner_product_of_the_gradients_of_single_voxels():
    random = torch.Generator().manual_seed(0)
    layer = torch.randn(3, 4, generator=random, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(3, 4, generator=random, dtype=torch.float64)
    image = torch.randn(2, 4, 5, generator=random, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 5), generator=random)
    label[0, 1] = IGNORE
    logits = (layer @ image.square()).tanh() + layer @ image
    (drift,) = torch.autograd.functional.jvp(
        lambda at: (at @ image.square()).tanh() + at @ image, layer.detach(), direction
    )[1:]
    losses = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction="none")
    expected = [(torch.autograd.grad(loss, layer, retain_graph=True)[0] * direction).sum() for loss in losses.flatten()]
    assert_close(agreement(logits.detach(), drift, label), torch.stack(expected).view(2, 5), rtol=1e-12, atol=1e-14)


def test_unknown_voxels_agree_with_nothing():
    logits, drift = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    label = torch.tensor([[0, IGNORE, 1, 2], [IGNORE] * 4])
    values = agreement(logits, drift, label)
    assert torch.equal(values == 0, label == IGNORE)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8), st.floats(1e-6, 1e6))
def test_weights_share_what_is_positive_whatever_its_unit(values, unit):
    raw = torch.tensor(values, dtype=torch.float64)
    weights = share_of_positive(raw)
    assert torch.equal(weights > 0, raw > 0)
    assert_close(weights.sum().item(), float((raw > 0).any()))
    assert_close(weights * raw.clamp(min=0).sum(), raw.clamp(min=0))
    assert_close(share_of_positive(unit * raw), weights)


def test_no_value_is_too_small_to_be_shared():
    assert_close(share_of_positive(torch.tensor([1e-30, 3e-30, -1.0])), torch.tensor([0.25, 0.75, 0.0]))


SCORES = st.lists(st.floats(-50, 50), min_size=1, max_size=6)


def weights(scores: list[float], bound: float = 2.0, counted: list[bool] | None = None) -> torch.Tensor:
    return bounded_softmax(torch.tensor(scores), bound, torch.tensor(counted or [True] * len(scores)))


def test_bounded_softmax_by_hand():
    # tanh(atanh(0.5)) = 1/2, so the first counts e times as much as each of the others.
    expected = torch.tensor([math.e, 1.0, 1.0]) / (math.e + 2)
    assert_close(weights([math.atanh(0.5), 0.0, 0.0]), expected)


@pytest.mark.parametrize(("size", "largest"), [(2, 0.9820), (4, 0.9479)])
def test_no_sample_outweighs_another_without_bound(size, largest):
    assert weights([1e6, *[-1e6] * (size - 1)])[0].item() == pytest.approx(largest, abs=5e-5)


@given(SCORES)
def test_with_a_bound_of_0_all_samples_weigh_the_same(scores):
    assert_close(weights(scores, 0.0), torch.full((len(scores),), 1 / len(scores)))


@given(SCORES, st.floats(0, 5), st.data())
def test_weights_of_samples_add_up_to_1_over_those_that_count(scores, bound, data):
    counted = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    result = weights(scores, bound, counted)
    assert result.sum().item() == pytest.approx(1.0 if any(counted) else 0.0, abs=1e-5)
    assert not result[~torch.tensor(counted)].any()
    rest = [score for score, counts in zip(scores, counted, strict=True) if counts]
    if rest:
        assert_close(result[torch.tensor(counted)], weights(rest, bound), atol=1e-5, rtol=1e-4)
    assert_close(weights(scores[::-1], bound, counted[::-1]), result.flip(0))
