from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.meta import agreement, share_of_positive


def test_of_the_one_parameter_network_by_hand():
    # logits (0, theta x), theta = 0, x = 1: l' = -/+ 1/2 for label 1/0, and V' = -1/2 for the clean label 1.
    logits = torch.zeros(1, 2, 2)
    drift = torch.tensor([0.0, -0.5]).view(1, 2, 1).expand(1, 2, 2)
    values = agreement(logits, drift, torch.tensor([[1, 0]]))
    assert_close(0.1 * values, torch.tensor([[0.025, -0.025]]))
    assert_close(share_of_positive(values), torch.tensor([[1.0, 0.0]]))
    opposite = agreement(logits, drift, torch.tensor([[0, 0]]))
    assert_close(share_of_positive(opposite), torch.zeros(1, 2))


def test_is_the_inner_product_of_the_gradients_of_single_voxels():
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
