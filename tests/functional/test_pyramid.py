from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from segmend.functional.pyramid import rectified_discrepancy


def logits_of(*object_probabilities: list[float]) -> Tensor:
    """``[scales, 1, 2, voxels]``, from the probability of the object at each voxel, scale by scale."""
    p = torch.tensor(object_probabilities)
    return torch.stack([1 - p, p], dim=1).unsqueeze(1).log()


class TestByHand:
    # Of one voxel, 0.9 and 0.5: the mean is 0.7.
    FROM_MEAN = (0.7 * math.log(7 / 9) + 0.3 * math.log(3), 0.7 * math.log(7 / 5) + 0.3 * math.log(3 / 5))
    TO_MEAN = (0.9 * math.log(9 / 7) + 0.1 * math.log(1 / 3), 0.5 * math.log(5 / 7) + 0.5 * math.log(5 / 3))

    @pytest.mark.parametrize(("divergence", "expected"), [("from_mean", FROM_MEAN), ("to_mean", TO_MEAN)])
    def test_one_voxel(self, divergence, expected):
        result = rectified_discrepancy(logits_of([0.9], [0.5]), divergence)
        assert_close(result.item(), 0.04 + sum(expected) / 2)

    def test_voxels_that_agree_count_more(self):
        # Weights are 1 at the first voxel, where the scales agree, and exp(-D) at the second.
        weights = [math.exp(-divergence) for divergence in self.FROM_MEAN]
        squares = sum(0.04 * weight / (1 + weight) for weight in weights) / 2
        result = rectified_discrepancy(logits_of([0.3, 0.9], [0.3, 0.5]))
        assert_close(result.item(), squares + sum(self.FROM_MEAN) / 2 / 2)
        assert squares < 0.02


@pytest.mark.parametrize("divergence", ["from_mean", "to_mean"])
class TestProperties:
    def test_equal_scales_cost_nothing(self, divergence):
        logits = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1, -1, -1)
        assert rectified_discrepancy(logits, divergence).item() == pytest.approx(0, abs=1e-6)

    @given(seed=st.integers(0, 10_000), scales=st.integers(2, 4), classes=st.integers(2, 4), spread=st.floats(0.1, 20))
    def test_is_the_plain_computation(self, divergence, seed, scales, classes, spread):
        logits = spread * torch.randn(scales, 2, classes, 3, 2, generator=torch.Generator().manual_seed(seed)).double()
        p = logits.softmax(2)
        mean = sum(p) / scales
        expected = 0.0
        for scale in p:
            one, other = (mean, scale) if divergence == "from_mean" else (scale, mean)
            apart = (one * (one / other).log()).sum(1)
            weight = (-apart).exp()
            square = ((mean - scale) ** 2).mean(1)
            expected += ((weight * square).mean() / weight.mean() + apart.mean()).item() / scales
        assert rectified_discrepancy(logits.float(), divergence).item() == pytest.approx(expected, abs=1e-4, rel=1e-4)

    def test_its_gradient_is_finite_where_probabilities_underflow(self, divergence):
        logits = torch.tensor([[0.0, -300.0], [5.0, -500.0], [-400.0, 0.0]]).view(3, 1, 2, 1).requires_grad_()
        result = rectified_discrepancy(logits, divergence)
        result.backward()
        assert result.isfinite()
        assert logits.grad.isfinite().all()

    def test_pulls_all_scales_together(self, divergence):
        logits = logits_of([0.9], [0.5]).requires_grad_()
        rectified_discrepancy(logits, divergence).backward()
        pull = logits.grad[:, 0, 1, 0]
        assert pull[0] > 0 > pull[1]


def test_mean_and_weights_are_learnt_through():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 2, 4, generator=random).double()
    torch.autograd.gradcheck(lambda z: rectified_discrepancy(z.double()), logits.requires_grad_(), atol=1e-3, eps=1e-3)
