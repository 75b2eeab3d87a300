from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.dice import (
    cross_entropy_dice,
    dice_cross_entropy_by_sample,
    dice_loss_by_sample,
    foreground_dice,
    label_dice,
    noise_robust_dice_loss,
    soft_cross_entropy_dice,
    squared_dice_loss,
)
from segmend.functional.soft_labels import one_hot


def test_squared_dice_by_hand():
    probabilities = torch.tensor([[[0.7, 0.2, 0.0, 0.9], [0.3, 0.8, 0.0, 0.1]]])
    target = torch.tensor([[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]]])
    # 1 - 3.2 / (0.49 + 0.04 + 0.81 + 2) and 1 - 1.6 / (0.09 + 0.64 + 0.01 + 1)
    expected = torch.tensor([1 - 3.2 / 3.34, 1 - 1.6 / 1.74])
    assert_close(squared_dice_loss(probabilities, target), expected, atol=1e-5, rtol=0)


def test_squared_dice_of_a_batch_is_of_one_region():
    probabilities = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    target = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    # Together 1 - 2 * 2 / (2 + 3); the mean of the two items would be (0 + 1) / 2.
    assert squared_dice_loss(probabilities, target).item() == pytest.approx(0.2, abs=1e-5)


def test_squared_dice_of_equal_soft_maps_is_0():
    soft = torch.full((1, 2, 3, 3, 3), 0.3)
    assert_close(squared_dice_loss(soft, soft), torch.zeros(2))


def test_squared_dice_of_a_missing_class_predicted_missing_is_0():
    empty = torch.zeros(1, 1, 4, 4)
    assert squared_dice_loss(empty, empty).item() == 0
    assert squared_dice_loss(empty + 1, empty).item() == pytest.approx(1, abs=1e-5)


def test_squared_dice_adds_smoothing_above_and_below_the_line():
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    assert squared_dice_loss(one, zero, smooth=1.0).item() == 0.5


@given(st.integers(0, 2**32), st.integers(2, 3))
def test_squared_dice_lies_between_0_and_1_whatever_the_order_of_the_voxels(seed, dimensions):
    random = torch.Generator().manual_seed(seed)
    shape = (2, 3, *[3] * dimensions)
    probabilities, target = torch.rand(shape, generator=random), torch.rand(shape, generator=random).round()
    loss = squared_dice_loss(probabilities, target)
    assert loss.shape == (3,)
    assert ((loss >= 0) & (loss <= 1)).all()
    order = torch.randperm(3**dimensions, generator=random)
    shuffled = squared_dice_loss(probabilities.flatten(2)[:, :, order], target.flatten(2)[:, :, order])
    assert_close(shuffled, loss)


class TestNoiseRobustDiceLoss:
    PROBABILITIES, TARGET = torch.tensor([[[0.8, 0.2]]]), torch.tensor([[[1.0, 0.0]]])

    @pytest.mark.parametrize(("gamma", "loss"), [(1.0, 0.4 / 1.68), (1.5, 0.1065), (2.0, 0.0476)])
    def test_squared_dice_by_hand(self, gamma, loss):
        assert noise_robust_dice_loss(self.PROBABILITIES, self.TARGET, gamma).item() == pytest.approx(loss, abs=5e-5)

    def test_with_squares_it_is_the_squared_dice_loss(self):
        random = torch.Generator().manual_seed(0)
        probabilities, target = torch.rand(2, 2, 3, 4, 5, generator=random)
        expected = squared_dice_loss(probabilities, target, smooth=0.0)
        assert_close(noise_robust_dice_loss(probabilities, target, 2.0, smooth=0.0), expected)

    def test_of_what_is_equal_is_nothing_and_has_a_gradient(self):
        probabilities = torch.tensor([[[0.5, 1.0], [0.0, 0.0]]], requires_grad=True)
        for gamma in (1.0, 1.5, 2.0):
            loss = noise_robust_dice_loss(probabilities, probabilities.detach(), gamma)
            assert loss.tolist() == [0, 0]
            (gradient,) = torch.autograd.grad(loss.sum(), probabilities)
            assert gradient.isfinite().all()


class TestDiceLossBySample:
    def test_squared_dice_by_hand(self):
        probabilities = torch.tensor([[[0.1, 0.2, 0.7, 0.9], [0.9, 0.8, 0.3, 0.1]]])
        target = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]])
        # 1 - (2 * 1.6 + 1) / (1.9 + 2 + 1) and 1 - (2 * 1.7 + 1) / (2.1 + 2 + 1)
        assert_close(dice_loss_by_sample(probabilities, target), torch.tensor([[0.142857, 0.137255]]))

    def test_samples_are_regions_of_their_own(self):
        random = torch.Generator().manual_seed(0)
        probabilities, target = torch.rand(2, 3, 2, 4, 5, generator=random)
        together = dice_loss_by_sample(probabilities, target, smooth=0.5)
        alone = [dice_loss_by_sample(probabilities[[row]], target[[row]], smooth=0.5)[0] for row in range(3)]
        assert_close(together, torch.stack(alone))

    def test_squared_dice_of_a_missing_class_predicted_missing_is_0(self):
        assert dice_loss_by_sample(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)).tolist() == [[0], [0]]


class TestLabelDice:
    @pytest.mark.parametrize(
        ("prediction", "reference", "dice"),
        [
            ([1, 1, 0, 0], [1, 0, 0, 0], 2 / 3),
            ([1, 1, 2, 0], [1, 0, 2, 2], 2 / 3),
            ([1, 0, 0, 0], [0, 2, 0, 0], 0),
            ([1, 0, 3, 0], [1, 0, 0, 0], 0.5),  # a class that nobody drew
            ([0, 0, 0, 0], [0, 0, 0, 0], 1),
            ([0, 0, 0, 0], [0, 1, 0, 0], 0),
            ([1, 1, 1, 2], [1, 0, IGNORE, IGNORE], 2 / 3),
            ([1, 2, 1, 2], [IGNORE] * 4, 1),
        ],
    )
    def test_squared_dice_by_hand(self, prediction, reference, dice):
        labels = [torch.tensor([values], dtype=torch.uint8) for values in (prediction, reference)]
        assert label_dice(*labels) == pytest.approx(dice)


PROBABILITIES = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])

LOGITS = PROBABILITIES.log().T.unsqueeze(0)

LABEL = torch.tensor([[0, 1, 1, 0]])

MASK = torch.tensor([[True, True, False, True]])

CROSS_ENTROPY, DICE, DICE_OF_THE_CODE = 0.228393, 0.061188, 0.171566  # over the three voxels of the mask


def random_case(shape: tuple[int, ...] = (2, 3, 6, 5)) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=random)
    return logits, torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=random)


def test_a_masked_case_by_hand():
    assert cross_entropy_dice(LOGITS, LABEL, MASK).item() == pytest.approx((CROSS_ENTROPY + DICE) / 2, abs=1e-6)


def test_the_public_codes_dice_target_by_hand():
    loss = cross_entropy_dice(LOGITS, LABEL, MASK, mask_dice_target=False)
    assert loss.item() == pytest.approx((CROSS_ENTROPY + DICE_OF_THE_CODE) / 2, abs=1e-6)


@pytest.mark.parametrize("mask_dice_target", [True, False])
def test_a_full_mask_changes_nothing(mask_dice_target):
    logits, label = random_case()
    masked = cross_entropy_dice(logits, label, torch.ones_like(label, dtype=bool), mask_dice_target=mask_dice_target)
    assert_close(masked, cross_entropy_dice(logits, label))


def test_an_empty_mask_gives_zero_and_pulls_nowhere():
    logits, label = random_case()
    loss = cross_entropy_dice(logits.requires_grad_(), label, torch.zeros_like(label, dtype=bool))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_ignored_voxels_are_masked_voxels():
    unknown = LABEL.masked_fill(~MASK, IGNORE)
    expected = cross_entropy_dice(LOGITS, LABEL, MASK)
    assert_close(cross_entropy_dice(LOGITS, unknown), expected)
    assert_close(cross_entropy_dice(LOGITS, unknown, torch.ones_like(MASK)), expected)


@pytest.mark.parametrize("ignored", [True, False], ids=["ignored", "masked"])
def test_voxels_left_out_do_not_matter(ignored):
    logits, label = random_case()
    keep = torch.rand(label.shape, generator=torch.Generator().manual_seed(1)) < 0.5

    def loss(logits, label):
        if ignored:
            return cross_entropy_dice(logits, label.masked_fill(~keep, IGNORE))
        return cross_entropy_dice(logits, label, keep)

    logits.requires_grad_()
    loss(logits, label).backward()
    assert not logits.grad.abs().sum(1)[~keep].any()
    assert logits.grad.abs().sum(1)[keep].all()
    changed = torch.where(keep.unsqueeze(1), logits, torch.randn_like(logits))
    assert_close(loss(changed, label.where(keep, 2 - label)), loss(logits, label))


def test_leaving_voxels_out_is_as_if_they_were_not_there():
    logits, label = random_case((1, 3, 8))
    keep = torch.tensor([True, False, True, True, False, True, True, False])
    assert_close(cross_entropy_dice(logits, label, keep[None]), cross_entropy_dice(logits[..., keep], label[:, keep]))


def test_the_three_class_loss_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.6, 0.3]]).log().T.unsqueeze(0)
    # Probabilities and targets of the two voxels: class 0 has .5 .1 and 1 0, class 1 .25 .6 and 0 0, class 2 .25 .3
    # and 0 1. The cross-entropies are ln 2 and -ln 0.3.
    dice = (1 - 1 / 1.26 + 1 + 1 - 0.6 / 1.1525) / 3
    expected = 0.5 * ((0.693147 + 1.203973) / 2 + dice)
    assert cross_entropy_dice(logits, torch.tensor([[0, 2]])).item() == pytest.approx(expected, abs=1e-5)


def test_cross_entropy_dice_is_float32_whatever_the_logits():
    logits, label = random_case()
    loss = cross_entropy_dice(logits.bfloat16(), label)
    assert loss.dtype == torch.float32
    assert_close(loss, cross_entropy_dice(logits.bfloat16().float(), label))


class TestSoftCrossEntropyDice:
    def test_by_hand(self):
        # Targets of the object 0, 0.5, 1 beside its probabilities 0.3, 0.8, 0.6.
        target = torch.tensor([[[1, 0.5, 0], [0, 0.5, 1]]])
        background = 1 - 2 * (0.7 + 0.1) / (0.49 + 0.04 + 0.16 + 1 + 0.25)
        object_ = 1 - 2 * (0.4 + 0.6) / (0.09 + 0.64 + 0.36 + 1 + 0.25)
        expected = 0.5 * ((0.356675 + 0.916291 + 0.510826) / 3 + (background + object_) / 2)
        assert soft_cross_entropy_dice(LOGITS[..., :3], target).item() == pytest.approx(expected, abs=1e-5)

    def test_hard_ones_cost_what_they_always_do(self):
        logits, label = random_case()
        label[0, 0] = IGNORE
        assert_close(soft_cross_entropy_dice(logits, one_hot(label, 3)), cross_entropy_dice(logits, label))

    def test_nothing_known_costs_nothing_and_pulls_nowhere(self):
        logits = LOGITS.clone().requires_grad_()
        loss = soft_cross_entropy_dice(logits, torch.zeros_like(LOGITS))
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()


class TestDiceCrossEntropyBySample:
    OBJECT = torch.tensor([0.9, 0.8, 0.3, 0.1])
    LOGITS = torch.stack([1 - OBJECT, OBJECT]).log().unsqueeze(0)

    @pytest.mark.parametrize(("alpha", "expected"), [(1.0, 0.137255 + 0.197635), (0.0, 0.137255), (0.5, 0.2360725)])
    def test_aides_example_by_hand(self, alpha, expected):
        loss = dice_cross_entropy_by_sample(self.LOGITS, torch.tensor([[1, 1, 0, 0]]), alpha)
        assert loss.tolist() == pytest.approx([expected], abs=1e-5)

    def test_unknown_voxels_are_as_if_they_were_not_there(self):
        logits, label = random_case((3, 3, 8))
        label[:, 5:] = IGNORE
        expected = dice_cross_entropy_by_sample(logits[..., :5], label[:, :5])
        assert_close(dice_cross_entropy_by_sample(logits, label), expected)

    def test_objects_count_alike_and_background_not_at_all(self):
        logits, label = random_case((2, 3, 6, 5))
        probabilities, target = logits.softmax(1), one_hot(label, 3)
        dice = dice_loss_by_sample(probabilities, target)
        assert_close(dice_cross_entropy_by_sample(logits, label, 0.0), (dice[:, 1] + dice[:, 2]) / 2)

    def test_a_sample_without_a_label_costs_nothing_and_pulls_nowhere(self):
        logits, label = random_case((2, 3, 8))
        logits.requires_grad_()
        label[1] = IGNORE
        loss = dice_cross_entropy_by_sample(logits, label)
        loss.sum().backward()
        assert loss[0] > 0
        assert loss[1] == 0
        assert not logits.grad[1].any()


class TestForegroundDice:
    LOGITS = torch.tensor([0.9, 0.6, 0.2, 0.1]).logit()
    LABEL = torch.tensor([[1, 1, 0, 0]])

    def logits(self) -> torch.Tensor:
        return torch.stack([torch.zeros(4), self.LOGITS]).unsqueeze(0)

    @pytest.mark.parametrize(("squared", "expected"), [(True, 0.068323), (False, 0.210526)])
    def test_by_hand(self, squared, expected):
        # 1 - 2 * 1.5 / (1.22 + 2) and 1 - 2 * 1.5 / (1.8 + 2)
        loss = foreground_dice(self.logits(), self.LABEL, squared=squared)
        assert loss.item() == pytest.approx(expected, abs=2e-6)

    @pytest.mark.parametrize("squared", [True, False])
    def test_sums_go_over_the_whole_batch(self, squared):
        halves = torch.cat([self.logits()[..., :2], self.logits()[..., 2:]])
        together = foreground_dice(self.logits(), self.LABEL, squared=squared)
        assert_close(foreground_dice(halves, self.LABEL.view(2, 2), squared=squared), together)

    @pytest.mark.parametrize("squared", [True, False])
    def test_is_the_mean_over_the_objects(self, squared):
        logits, label = random_case()
        both = [
            foreground_dice(torch.stack([torch.zeros_like(p), p.logit()], 1), (label == cls).long(), squared=squared)
            for cls, p in ((1, logits.softmax(1)[:, 1]), (2, logits.softmax(1)[:, 2]))
        ]
        assert_close(foreground_dice(logits, label, squared=squared), sum(both) / 2)

    @pytest.mark.parametrize("squared", [True, False])
    def test_voxels_without_a_label_do_not_count(self, squared):
        padded = torch.cat([self.logits(), torch.full((1, 2, 3), 5.0)], dim=2).requires_grad_()
        label = torch.cat([self.LABEL, torch.full((1, 3), IGNORE)], dim=1)
        loss = foreground_dice(padded, label, squared=squared)
        loss.backward()
        assert_close(loss.detach(), foreground_dice(self.logits(), self.LABEL, squared=squared))
        assert not padded.grad[..., 4:].any()

    @pytest.mark.parametrize("squared", [True, False])
    def test_without_any_label_it_is_0(self, squared):
        assert foreground_dice(self.logits(), torch.full((1, 4), IGNORE), squared=squared).item() == 0
