from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.uncertainty import (
    confidence,
    dirichlet,
    entropy,
    expected_cross_entropy,
    misleading_evidence,
    normalised_entropy,
    self_information,
    spread_of_halved_logits,
    vacuity,
    variance_of_passes,
)


def over_classes(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).view(1, -1, 1, 1)


class TestEntropy:
    @pytest.mark.parametrize("classes", [2, 3, 7])
    def test_is_log_c_if_all_classes_are_alike_and_0_if_one_is_sure(self, classes):
        alike = entropy(over_classes(*[1 / classes] * classes)).item()
        assert alike == pytest.approx(math.log(classes), abs=1e-5)
        assert alike <= math.log(classes)  # so that a threshold there leaves nothing out
        sure = entropy(over_classes(1.0, *[0.0] * (classes - 1)))
        assert sure.item() == pytest.approx(0, abs=1e-5)

    def test_pulls_even_where_a_class_is_impossible(self):
        probabilities = over_classes(1.0, 0.0).requires_grad_()
        entropy(probabilities).sum().backward()
        assert probabilities.grad.isfinite().all()


class TestNormalisedEntropy:
    def test_reaches_the_threshold_of_plil_at_a_probability_of_0_98701(self):
        below, at, above = (normalised_entropy(over_classes(p, 1 - p)).item() for p in (0.9860, 0.98701, 0.9880))
        assert at == pytest.approx(0.1, abs=1e-4)
        assert below > 0.1 > above

    @pytest.mark.parametrize("classes", [2, 3, 7])
    def test_is_1_if_all_classes_are_alike_and_0_if_one_is_sure(self, classes):
        assert normalised_entropy(over_classes(*[1 / classes] * classes)).item() == pytest.approx(1, abs=1e-4)
        sure = normalised_entropy(over_classes(1.0, *[0.0] * (classes - 1)))
        assert sure.item() == pytest.approx(0, abs=1e-5)

    def test_of_three_classes_by_hand(self):
        # (0.5 ln 2 + 2 * 0.25 ln 4) / ln 3
        expected = 1.5 * math.log(2) / math.log(3)
        assert normalised_entropy(over_classes(0.5, 0.25, 0.25)).item() == pytest.approx(expected, abs=1e-5)

    def test_keeps_the_grid(self):
        assert normalised_entropy(torch.full((2, 4, 3, 5, 6), 0.25)).shape == (2, 3, 5, 6)


class TestSelfInformation:
    def test_by_hand(self):
        # -0.9 log2 0.9 and -0.1 log2 0.1; both 0.5 where the classes are equally probable.
        information = self_information(torch.tensor([[[0.9, 0.5], [0.1, 0.5]]]).log())
        assert_close(information, torch.tensor([[[0.136803, 0.5], [0.332193, 0.5]]]), atol=1e-6, rtol=0)

    def test_adds_up_to_the_normalised_entropy(self):
        log_p = torch.randn(2, 4, 3, 5).log_softmax(1)
        assert_close(self_information(log_p).sum(1), normalised_entropy(log_p.exp()), atol=1e-4, rtol=0)

    def test_its_gradient_by_hand(self):
        logits = over_classes(0.7, 0.2, 0.1).log().requires_grad_()
        self_information(logits.log_softmax(1)).sum().backward()
        expected = over_classes(-0.283631, 0.147025, 0.136606)
        assert_close(logits.grad, expected, atol=1e-6, rtol=0)

    def test_stays_finite_where_a_class_is_impossible(self):
        logits = over_classes(300.0, 0.0, -300.0).requires_grad_()
        information = self_information(logits.log_softmax(1))
        information.sum().backward()
        assert information.isfinite().all()
        assert logits.grad.isfinite().all()


class TestSpreadOfHalvedLogits:
    def test_by_hand(self):
        # sigmoid(0) = 1/2 and sigmoid(ln 3) = 3/4: deviation (1/4) / sqrt 2 with N - 1.
        logits = torch.tensor([0.0, 2 * math.log(3)]).view(2, 1, 1, 1, 1)
        assert spread_of_halved_logits(logits).item() == pytest.approx(0.25 / math.sqrt(2))

    def test_of_three_passes_by_hand(self):
        logits = 2 * torch.logit(torch.tensor([0.2, 0.5, 0.8])).view(3, 1, 1, 1, 1)
        assert spread_of_halved_logits(logits).item() == pytest.approx(0.3)

    def test_channels_and_items_do_not_mix(self):
        logits = torch.zeros(4, 2, 2, 3, 3)
        logits[:, 1, 0, 2, 2] = torch.tensor([-50.0, -50.0, 50.0, 50.0])
        spread = spread_of_halved_logits(logits)
        expected = torch.zeros(2, 2, 3, 3)
        expected[1, 0, 2, 2] = math.sqrt(1 / 3)
        assert_close(spread, expected)


class TestVarianceOfPasses:
    def test_two_passes_by_hand(self):
        # Each class is 0.2 away from its mean, (.7, .3), in both passes.
        probabilities = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).view(2, 1, 2, 1)
        assert_close(variance_of_passes(probabilities), torch.tensor([[0.04]]))

    def test_is_the_mean_over_the_classes(self):
        probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]).view(2, 1, 3, 1)
        assert_close(variance_of_passes(probabilities), torch.tensor([[0.08 / 3]]))

    def test_of_equal_passes_is_0(self):
        one = torch.rand(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        assert_close(variance_of_passes(one.repeat(3, 1, 1, 1, 1)), torch.zeros(2, 4, 5))

    def test_is_no_function_of_the_mean(self):
        apart, close = torch.tensor([0.0, 1.0]), torch.tensor([0.4, 0.6])
        variances = [variance_of_passes(torch.stack([p, 1 - p], 1).view(2, 1, 2, 1)).item() for p in (apart, close)]
        assert variances == pytest.approx([0.25, 0.01])


class TestConfidence:
    @pytest.mark.parametrize(("probability", "expected"), [(0.8, 0.36), (0.5, 0.0), (1.0, 1.0), (0.1, 0.64)])
    def test_of_two_classes_it_is_the_squared_difference(self, probability, expected):
        assert confidence(over_classes(probability, 1 - probability)).item() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("classes", [2, 3, 7])
    def test_is_0_if_all_classes_are_alike_and_1_if_one_is_sure(self, classes):
        assert confidence(over_classes(*[1 / classes] * classes)).item() == pytest.approx(0, abs=1e-6)
        assert confidence(over_classes(1.0, *[0.0] * (classes - 1))).item() == pytest.approx(1)


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
