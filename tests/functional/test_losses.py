from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.losses import (
    cross_entropy,
    early_learning,
    generalised_cross_entropy,
    probabilities,
    soft_cross_entropy,
    symmetric_cross_entropy,
    truncated_cross_entropy,
)
from segmend.functional.soft_labels import one_hot

PROBABILITIES = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])

LOGITS = PROBABILITIES.log().T.unsqueeze(0)  # [1, 2, 4]: four voxels in a row


def test_probabilities_are_float32_whatever_the_network_computes_in():
    assert_close(probabilities(LOGITS), PROBABILITIES.T.unsqueeze(0))
    assert probabilities(LOGITS.bfloat16()).dtype == torch.float32


class TestCrossEntropy:
    def test_by_hand(self):
        losses = cross_entropy(LOGITS, torch.tensor([[0, 1, 1, 0]]))
        assert_close(losses, torch.tensor([[0.356675, 0.223144, 0.510826, 0.105361]]), atol=1e-6, rtol=0)

    def test_ignored_voxels_cost_nothing_and_pull_nowhere(self):
        logits = LOGITS.clone().requires_grad_()
        losses = cross_entropy(logits, torch.tensor([[0, IGNORE, 1, IGNORE]]))
        losses.sum().backward()
        assert losses[0, [1, 3]].tolist() == [0, 0]
        assert not logits.grad[0, :, [1, 3]].any()
        assert logits.grad[0, :, [0, 2]].all()

    @pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
    def test_keeps_the_grid_and_works_in_float32(self, shape):
        logits = torch.randn(2, 3, *shape).bfloat16()
        losses = cross_entropy(logits, torch.zeros(2, *shape, dtype=torch.long))
        assert losses.shape == (2, *shape)
        assert_close(losses, -logits.float().log_softmax(1)[:, 0])

    def test_of_huge_logits_is_finite(self):
        logits = torch.tensor([[[1e4], [-1e4]]])
        assert cross_entropy(logits, torch.tensor([[1]])).item() == pytest.approx(2e4)


class TestSoftCrossEntropy:
    def test_by_hand(self):
        target = torch.tensor([[[1, 0.5, 0.25, 0], [0, 0.5, 0.75, 0]]])
        expected = torch.tensor([[0.356675, 0.5 * (1.609438 + 0.223144), 0.25 * 0.916291 + 0.75 * 0.510826, 0]])
        assert_close(soft_cross_entropy(LOGITS, target), expected, atol=1e-6, rtol=0)

    def test_of_hard_labels_is_the_usual_one(self):
        logits, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
        label[0, 0] = IGNORE
        assert_close(soft_cross_entropy(logits, one_hot(label, 3)), cross_entropy(logits, label))

    def test_is_float32_and_finite_for_huge_logits(self):
        losses = soft_cross_entropy(torch.tensor([[[1e4], [-1e4]]]).bfloat16(), torch.tensor([[[0.5], [0.5]]]))
        assert losses.dtype == torch.float32
        assert losses.item() == pytest.approx(1e4, rel=0.01)


OF_LABEL = torch.tensor([0.9, 0.5, 0.1])

LIKELIHOODS = torch.stack([OF_LABEL, 1 - OF_LABEL]).log().unsqueeze(0)  # three voxels, all labelled 0

LABEL = torch.zeros(1, 3, dtype=torch.long)


def random_case(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (2, *shape), generator=random)
    return torch.randn(2, 3, *shape, generator=random), label


class TestGeneralisedCrossEntropy:
    def test_by_hand(self):
        expected = torch.tensor([[0.1016, 0.5492, 1.1435]])
        assert_close(generalised_cross_entropy(LIKELIHOODS, LABEL, 0.7), expected, atol=5e-5, rtol=0)

    def test_lies_between_cross_entropy_and_the_missing_probability(self):
        assert_close(generalised_cross_entropy(LIKELIHOODS, LABEL, 1e-4), -OF_LABEL.log()[None], atol=1e-3, rtol=0)
        assert_close(generalised_cross_entropy(LIKELIHOODS, LABEL, 1.0), 1 - OF_LABEL[None])

    @pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
    def test_its_gradient_is_that_of_cross_entropy_times_a_power_of_the_probability(self, shape):
        logits, label = random_case(*shape)
        logits.requires_grad_()
        (of_loss,) = torch.autograd.grad(generalised_cross_entropy(logits, label, 0.7).sum(), logits)
        losses = cross_entropy(logits, label)
        (of_ce,) = torch.autograd.grad(losses.sum(), logits)
        assert_close(of_loss, of_ce * (-0.7 * losses).exp().unsqueeze(1))

    def test_of_a_hopeless_label_is_finite_and_pulls_no_more(self):
        logits = torch.tensor([[[0.0], [1e4]]]).bfloat16().requires_grad_()
        loss = generalised_cross_entropy(logits, torch.zeros(1, 1, dtype=torch.long), 0.5)
        loss.sum().backward()
        assert loss.item() == pytest.approx(2)
        assert loss.dtype == torch.float32
        assert not logits.grad.any()


class TestTruncatedCrossEntropy:
    def test_by_hand(self):
        # (1 - 0.7^0.7) / 0.7 is the most that a voxel can cost.
        expected = torch.tensor([[0.1016, 0.3156, 0.3156]])
        assert_close(truncated_cross_entropy(LIKELIHOODS, LABEL, 0.7, 0.7), expected, atol=5e-5, rtol=0)

    def test_pulls_only_where_the_label_is_probable(self):
        logits = LIKELIHOODS.clone().requires_grad_()
        truncated_cross_entropy(logits, LABEL, 0.7, 0.4).sum().backward()
        assert logits.grad.any(1).tolist() == [[True, True, False]]


class TestSymmetricCrossEntropy:
    def test_by_hand(self):
        expected = 0.1 * -OF_LABEL.log() + 2 * 4 * (1 - OF_LABEL)
        assert_close(symmetric_cross_entropy(LIKELIHOODS, LABEL, 0.1, 2.0), expected[None])

    def test_is_the_sum_of_both_directions(self):
        logits, label = random_case(4, 5)
        p = logits.softmax(1)
        log_label = torch.full_like(p, -3.0).scatter(1, label.unsqueeze(1), 0.0)
        expected = 0.5 * cross_entropy(logits, label) - 0.25 * (p * log_label).sum(1)
        assert_close(symmetric_cross_entropy(logits, label, 0.5, 0.25, -3.0), expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda *given: generalised_cross_entropy(*given, 0.7),
        lambda *given: truncated_cross_entropy(*given, 0.7, 0.2),
        lambda *given: symmetric_cross_entropy(*given, 0.1, 1.0),
    ],
)
def test_unknown_voxels_cost_nothing_and_pull_nowhere(loss):
    logits, label = LIKELIHOODS.clone().requires_grad_(), torch.tensor([[0, IGNORE, 1]])
    losses = loss(logits, label)
    losses.sum().backward()
    assert losses[0, 1] == 0
    assert losses[0, [0, 2]].all()
    assert not logits.grad[0, :, 1].any()
    assert math.isfinite(logits.grad.sum())


class TestEarlyLearning:
    def test_by_hand(self):
        logits = torch.tensor([[[2.0], [0.0]]], requires_grad=True)
        loss = early_learning(logits, torch.tensor([[[0.9], [0.1]]]))
        loss.sum().backward()
        assert loss.item() == pytest.approx(-1.6329, abs=5e-5)
        # Descent raises the logit of the class that the target is for.
        assert_close(logits.grad.flatten(), torch.tensor([-0.4299, 0.4299]), atol=5e-5, rtol=0)

    def test_without_a_memory_is_nothing(self):
        logits, _ = random_case(4, 5)
        assert not early_learning(logits, torch.zeros_like(logits)).any()

    @pytest.mark.parametrize("sure", [20.0, 1e4])
    def test_of_full_agreement_is_finite(self, sure):
        logits = torch.tensor([[[sure], [0.0]]]).bfloat16().requires_grad_()
        loss = early_learning(logits, torch.tensor([[[1.0], [0.0]]]))
        loss.sum().backward()
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(math.log(1e-4), rel=1e-3)
        assert not logits.grad.any()
