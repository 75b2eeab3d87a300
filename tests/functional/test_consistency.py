from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.functional.consistency import kl_divergence, kl_divergence_of_logs, squared_difference


def test_by_hand():
    first = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])  # two classes, two voxels
    second = torch.tensor([[[0.0, 0.0], [3.0, 2.0]]])
    assert_close(squared_difference(first, second), torch.tensor([[5.0, 0.0]]))


def test_pulls_its_arguments_towards_each_other():
    first, second = torch.ones(1, 4, 2, 2, requires_grad=True), torch.zeros(1, 4, 2, 2, requires_grad=True)
    squared_difference(first, second).sum().backward()
    assert_close(first.grad, torch.full((1, 4, 2, 2), 0.5))
    assert_close(second.grad, -first.grad)


def distribution(*probabilities: float) -> torch.Tensor:
    """One voxel ``[1, C, 1]``."""
    return torch.tensor(probabilities).view(1, -1, 1)


class TestKLDivergence:
    def test_by_hand(self):
        mean = distribution(0.7, 0.3)
        for other, expected in [((0.9, 0.1), 0.153664), ((0.5, 0.5), 0.082283), ((0.7, 0.3), 0.0)]:
            divergence = kl_divergence(mean, distribution(*other).log())
            assert_close(divergence, torch.tensor([[expected]]), atol=1e-6, rtol=0)

    def test_is_not_symmetric(self):
        p, q = distribution(0.5, 0.5), distribution(0.25, 0.75)
        assert_close(kl_divergence(p, q.log()).item(), math.log(2) - math.log(3) / 2)
        assert_close(kl_divergence(q, p.log()).item(), 0.75 * math.log(3) - math.log(2))

    def test_of_a_sure_class_is_the_cross_entropy(self):
        assert_close(kl_divergence(distribution(1.0, 0.0), distribution(0.25, 0.75).log()).item(), math.log(4))

    def test_pulls_logits_by_the_difference_of_the_probabilities(self):
        logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
        target = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).softmax(1)
        kl_divergence(target, logits.log_softmax(1)).sum().backward()
        assert_close(logits.grad, logits.detach().softmax(1) - target)

    @given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), spread=st.floats(0.1, 30))
    def test_is_never_negative_though_its_classes_are(self, seed, classes, spread):
        random = torch.Generator().manual_seed(seed)
        log_p, log_q = (spread * torch.randn(2, 2, classes, 20, generator=random)).log_softmax(2)
        divergence = kl_divergence(log_p.exp(), log_q)
        assert divergence.shape == (2, 20)
        assert (divergence > -1e-5).all()
        assert (log_p.exp() * (log_p - log_q)).min() < 0


class TestKLDivergenceOfLogs:
    @given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), spread=st.floats(0.1, 30))
    def test_is_the_same_divergence(self, seed, classes, spread):
        random = torch.Generator().manual_seed(seed)
        log_p, log_q = (spread * torch.randn(2, 2, classes, 20, generator=random)).log_softmax(2)
        assert_close(kl_divergence_of_logs(log_p, log_q), kl_divergence(log_p.exp(), log_q), atol=1e-4, rtol=1e-4)

    def test_can_be_learnt_through_where_a_probability_underflows(self):
        logits = torch.tensor([[0.0, -300.0], [-300.0, 0.0]], requires_grad=True)
        log_p, log_q = logits.log_softmax(1).split(1)
        assert log_p.exp().min() == 0
        kl_divergence_of_logs(log_p, log_q).sum().backward()
        assert logits.grad.isfinite().all()
        assert logits.grad[1].tolist() == [-1, 1]
