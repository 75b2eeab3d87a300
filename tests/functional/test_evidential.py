from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.evidential import dirichlet, expected_cross_entropy, misleading_evidence, vacuity


def voxels(*parameters: list[float]) -> torch.Tensor:
    """Voxels in a row, ``[1, C, voxels]``."""
    return torch.tensor(parameters).T.unsqueeze(0)


class TestDirichlet:
    def test_is_evidence_plus_one(self):
        alpha = dirichlet(torch.tensor([[[-1e4, 0.0, 30.0]]]).bfloat16())
        assert_close(alpha, torch.tensor([[[1, 1 + math.log(2), 31]]]))


class TestVacuity:
    def test_by_hand(self):
        assert_close(vacuity(voxels([1.0, 1, 1], [9, 1, 1], [1, 5, 24])), torch.tensor([[1, 3 / 11, 0.1]]))


class TestExpectedCrossEntropy:
    def test_by_hand(self):
        # psi(3) - psi(1) = 1 + 1/2 and psi(11) - psi(9) = 1/9 + 1/10
        losses = expected_cross_entropy(voxels([1.0, 1, 1], [9, 1, 1], [9, 1, 1]), torch.tensor([[2, 0, IGNORE]]))
        assert_close(losses, torch.tensor([[1.5, 0.2111, 0]]), atol=5e-5, rtol=0)

    def test_is_the_mean_over_the_distribution(self):
        torch.manual_seed(0)
        drawn = Dirichlet(torch.tensor([2.0, 3.0, 1.5])).sample((100_000,))
        loss = expected_cross_entropy(voxels([2.0, 3.0, 1.5]), torch.tensor([[1]])).item()
        assert loss == pytest.approx(-drawn[:, 1].log().mean().item(), abs=0.01)


class TestMisleadingEvidence:
    ALPHA = voxels([9.0, 2.5, 4.0], [1, 7, 1], [3, 2, 5], [9, 9, 9])

    def test_is_the_divergence_without_the_labels_evidence(self):
        losses = misleading_evidence(self.ALPHA, torch.tensor([[0, 2, 1, IGNORE]]))
        left = torch.tensor([[1, 2.5, 4.0], [1, 7, 1], [3, 1, 5]])
        expected = kl_divergence(Dirichlet(left), Dirichlet(torch.ones(3)))
        assert_close(losses[0, :3], expected)
        assert losses[0, 3] == 0

    def test_evidence_for_the_label_alone_costs_nothing(self):
        assert_close(misleading_evidence(voxels([1.0, 40.0]), torch.tensor([[1]])), torch.zeros(1, 1))

    @pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
    def test_pulls_at_the_other_classes_only(self, shape):
        alpha = dirichlet(torch.randn(2, 3, *shape)).requires_grad_()
        label = torch.randint(0, 3, (2, *shape))
        label[0, 0] = IGNORE
        misleading_evidence(alpha, label).sum().backward()
        pulled = torch.stack([(label != index) & (label != IGNORE) for index in range(3)], 1)
        assert torch.equal(alpha.grad != 0, pulled)
