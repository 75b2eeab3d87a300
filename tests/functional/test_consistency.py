from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.consistency import (
    divergence_weighted_mean,
    jensen_shannon,
    joint_loss,
    kl_divergence,
    kl_divergence_of_logs,
    rectified_discrepancy,
    squared_difference,
    structural_difference,
)


def test_squared_difference_by_hand():
    first = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])  # two classes, two voxels
    second = torch.tensor([[[0.0, 0.0], [3.0, 2.0]]])
    assert_close(squared_difference(first, second), torch.tensor([[5.0, 0.0]]))


def test_squared_difference_pulls_its_arguments_towards_each_other():
    first, second = torch.ones(1, 4, 2, 2, requires_grad=True), torch.zeros(1, 4, 2, 2, requires_grad=True)
    squared_difference(first, second).sum().backward()
    assert_close(first.grad, torch.full((1, 4, 2, 2), 0.5))
    assert_close(second.grad, -first.grad)


def distribution(*probabilities: float) -> torch.Tensor:
    """One voxel ``[1, C, 1]``."""
    return torch.tensor(probabilities).view(1, -1, 1)


class TestKLDivergence:
    def test_squared_difference_by_hand(self):
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


def logs(p: list[float]) -> torch.Tensor:
    return torch.tensor([[1 - each, each] for each in p]).log().T.unsqueeze(0)


def test_joint_loss_by_hand():
    supervised, agreement = joint_loss(logs([0.9, 0.5]), logs([0.6, 0.5]), torch.tensor([[1, 0]]), 0.25)
    one_way, other_way = 0.226289, 0.311239
    assert_close(supervised, 0.75 * torch.tensor([[-math.log(0.9) - math.log(0.6), 2 * math.log(2)]]))
    assert_close(agreement, 0.25 * torch.tensor([[one_way + other_way, 0]]), atol=1e-5, rtol=0)


def test_unknown_labels_leave_only_the_disagreement_in_the_joint_loss():
    supervised, agreement = joint_loss(logs([0.9]), logs([0.6]), torch.tensor([[IGNORE]]), 0.5)
    assert supervised.item() == 0
    assert agreement.item() > 0


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_joint_loss_is_symmetric_on_any_grid(shape):
    first, second = torch.randn(2, 3, *shape), torch.randn(2, 3, *shape)
    label = torch.randint(0, 3, (2, *shape))
    one = joint_loss(first, second, label, 0.65)
    assert all(each.shape == (2, *shape) for each in one)
    assert_close(one, joint_loss(second, first, label, 0.65))


def test_joint_loss_pulls_at_both_networks_and_stays_finite_for_huge_logits():
    first, second = (sign * torch.tensor([[[1e4], [-1e4]]]) for sign in (1, -1))
    first.requires_grad_(), second.requires_grad_()
    torch.stack(joint_loss(first, second, torch.tensor([[1]]), 0.5)).sum().backward()
    assert all(each.grad.isfinite().all() and each.grad.any() for each in (first, second))


def logits_of(*object_probabilities: list[float]) -> Tensor:
    """``[scales, 1, 2, voxels]``, from the probability of the object at each voxel, scale by scale."""
    p = torch.tensor(object_probabilities)
    return torch.stack([1 - p, p], dim=1).unsqueeze(1).log()


class TestRectifiedDiscrepancyByHand:
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
class TestRectifiedDiscrepancy:
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


def test_rectified_discrepancy_is_learnt_through_its_mean_and_weights():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 2, 4, generator=random).double()
    torch.autograd.gradcheck(lambda z: rectified_discrepancy(z.double()), logits.requires_grad_(), atol=1e-3, eps=1e-3)


def passes(*probabilities: list[float]) -> torch.Tensor:
    """One voxel of one sample: log-probabilities ``[passes, 1, C, 1]``."""
    return torch.tensor(probabilities).log().view(len(probabilities), 1, -1, 1)


def test_fusion_of_two_passes_by_hand():
    # Mean (.7, .3), divergences .153664 and .082283, weights .482162 and .517838.
    fused = divergence_weighted_mean(passes([0.9, 0.1], [0.5, 0.5]))
    assert_close(fused.flatten(), torch.tensor([0.692865, 0.307135]), atol=1e-6, rtol=0)


def test_fusion_of_three_passes_and_classes_by_hand():
    # Mean (.5, .3, .2); KL is .5 ln(.5/.8) + .3 ln(.3/.1) + .2 ln(.2/.1) = .233211, then .088015 and .025267.
    fused = divergence_weighted_mean(passes([0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.4, 0.4, 0.2]))
    assert_close(fused.flatten(), torch.tensor([0.483950, 0.311437, 0.204613]), atol=1e-6, rtol=0)


def test_the_fusion_can_overrule_the_mean():
    # The mean says the first class, .5067, but the one pass that is sure of it lies furthest off.
    predictions = passes([0.98, 0.02], [0.27, 0.73], [0.27, 0.73])
    assert predictions.exp().mean(0).argmax() == 0
    assert divergence_weighted_mean(predictions).argmax() == 1


def test_equal_passes_are_their_fusion():
    one = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    assert_close(divergence_weighted_mean(one.repeat(4, 1, 1, 1, 1)), one[0].exp())


def test_the_order_of_the_passes_does_not_matter():
    three = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    for order in itertools.permutations(range(3)):
        assert_close(divergence_weighted_mean(three[list(order)]), divergence_weighted_mean(three))


def test_a_pass_without_any_doubt_is_survived():
    sure = torch.tensor([[300.0, -300.0], [-300.0, 300.0], [1.0, 0.0]]).view(3, 1, 2, 1).log_softmax(2)
    assert divergence_weighted_mean(sure).isfinite().all()


@pytest.mark.parametrize("shape", [(4, 2, 3, 5, 6), (4, 2, 3, 4, 5, 6)])
def test_voxels_and_samples_are_fused_alone(shape):
    log_probabilities = torch.randn(shape, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    fused = divergence_weighted_mean(log_probabilities)
    assert fused.shape == shape[1:]
    part = (slice(None), slice(1, 2), slice(None), slice(2, 4))
    assert_close(divergence_weighted_mean(log_probabilities[part]), fused[part[1:]])


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), count=st.integers(1, 5), spread=st.floats(0.1, 20))
def test_the_fusion_is_a_probability_between_those_of_the_passes(seed, classes, count, spread):
    random = torch.Generator().manual_seed(seed)
    log_probabilities = (spread * torch.randn(count, 2, classes, 3, generator=random)).log_softmax(2)
    fused = divergence_weighted_mean(log_probabilities)
    assert_close(fused.sum(1), torch.ones(2, 3))
    assert (fused <= log_probabilities.exp().amax(0) + 1e-6).all()
    assert (fused >= log_probabilities.exp().amin(0) - 1e-6).all()


class TestJensenShannon:
    def test_by_hand(self):
        pair = torch.tensor([[[0.8], [0.2]], [[0.4], [0.6]]]).unsqueeze(1).log()
        assert jensen_shannon(pair).item() == pytest.approx(0.086305, abs=1e-6)

    def test_of_predictions_that_exclude_each_other_is_the_log_of_their_number(self):
        for count in (2, 3):
            apart = (60 * torch.eye(count)).view(count, 1, count, 1).log_softmax(2)
            assert jensen_shannon(apart).item() == pytest.approx(math.log(count), abs=1e-5)

    def test_does_not_depend_on_the_order_and_is_zero_for_equals(self):
        log_p = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0)).log_softmax(2)
        assert_close(jensen_shannon(log_p), jensen_shannon(log_p.flip(0)))
        assert (jensen_shannon(log_p) > 0).all()
        assert_close(jensen_shannon(log_p[:1].expand(3, -1, -1, -1)), torch.zeros(2, 5), atol=1e-6, rtol=0)

    def test_has_finite_gradients_where_a_probability_underflows(self):
        logits = torch.tensor([[[200.0], [-200.0]], [[-200.0], [200.0]]]).unsqueeze(1).requires_grad_()
        jensen_shannon(logits.log_softmax(2)).sum().backward()
        assert logits.grad.isfinite().all()


class TestStructuralDifference:
    FIRST, SECOND = torch.tensor([[[0.9, 0.5], [0.1, 0.5]]]), torch.tensor([[[0.8, 0.6], [0.2, 0.4]]])

    def test_by_hand(self):
        assert structural_difference(self.FIRST, self.SECOND).item() == pytest.approx(0.012940, abs=1e-6)

    def test_is_the_mean_over_pairs_of_voxels_of_their_differences_in_similarity(self):
        first, second = torch.rand(3, 4, 2, 3).softmax(1), torch.rand(3, 4, 2, 3).softmax(1)
        f, g = (each.flatten(2) / each.flatten(2).norm(dim=1, keepdim=True) for each in (first, second))
        direct = (f.transpose(1, 2) @ f - g.transpose(1, 2) @ g).square().mean((1, 2))
        assert_close(structural_difference(first, second), direct, atol=1e-6, rtol=1e-4)

    def test_the_order_of_the_voxels_does_not_matter_if_it_is_the_same_in_both(self):
        order = torch.tensor([1, 2, 0])
        first, second = (torch.cat([each, each[..., :1].flip(1)], -1) for each in (self.FIRST, self.SECOND))
        expected = structural_difference(first, second)
        assert_close(structural_difference(first[..., order], second[..., order]), expected)
        assert abs(structural_difference(first[..., order], second) - expected) > 1e-3

    def test_of_equal_predictions_is_0_and_never_less(self):
        same = torch.rand(2, 3, 20, 20).softmax(1)
        assert structural_difference(same, same).tolist() == [0, 0]
        assert (structural_difference(same, same + 1e-6 * torch.rand_like(same)) >= 0).all()

    def test_is_precise_under_autocast(self):
        with torch.autocast("cpu", torch.bfloat16):
            assert structural_difference(self.FIRST, self.SECOND).item() == pytest.approx(0.012940, abs=1e-6)
