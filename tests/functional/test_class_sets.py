"""Losses where only a set of possible classes is known of a voxel."""

import math

import pytest
import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.class_sets import class_sets, counted
from segmend.functional.dice import cross_entropy_dice, dice_cross_entropy_by_sample
from segmend.functional.losses import cross_entropy, generalised_cross_entropy

SETS = [(0, 2), (0, 1)]
LOGITS = torch.tensor([[[0.5, 0.2, 0.1, 0.1]], [[0.3, 0.3, 0.8, 0.1]], [[0.2, 0.5, 0.1, 0.8]]]).log().movedim(0, 1)
LABEL = torch.tensor([[[256, 257, 1, IGNORE]]])


def test_cross_entropy_is_that_of_the_union():
    with class_sets(SETS):
        found = cross_entropy(LOGITS, LABEL[0])
    expected = [-math.log(0.7), -math.log(0.5), -math.log(0.8), 0.0]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_set_of_all_classes_teaches_nothing():
    logits = torch.randn(1, 3, 8, requires_grad=True)
    with class_sets([(0, 1, 2)]):
        loss = cross_entropy(logits, torch.full((1, 8), 256)).sum()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.abs().max() < 1e-6


def test_complete_labels_have_the_same_loss_as_without_sets():
    logits, label = torch.randn(2, 3, 9), torch.randint(0, 3, (2, 9))
    label[0, 0] = IGNORE
    plain = cross_entropy(logits, label), cross_entropy_dice(logits, label)
    with class_sets(SETS):
        assert_close((cross_entropy(logits, label), cross_entropy_dice(logits, label)), plain)


def test_the_classes_of_a_set_do_not_count_for_dice():
    with class_sets(SETS):
        assert counted(LABEL[0], 3)[0].int().tolist() == [[0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0]]
    assert counted(LABEL[0], 3).shape == (1, 1, 4)


def test_a_false_positive_of_an_annotated_class_is_seen_and_one_of_another_is_not():
    label = torch.full((1, 10), 256)  # background or class 2; class 1 is annotated and not there
    base = torch.zeros(1, 3, 10)
    base[:, 0] = 5.0
    wrong, allowed = base.clone(), base.clone()
    wrong[:, 1, :5] = 9.0
    allowed[:, 2, :5] = 9.0
    with class_sets([(0, 2)]):
        for loss in (cross_entropy_dice, dice_cross_entropy_by_sample):
            at_rest, of_wrong, of_allowed = (loss(each, label).sum() for each in (base, wrong, allowed))
            assert of_wrong > at_rest + 0.1
            assert of_allowed <= at_rest + 1e-3


def test_robust_losses_take_the_probability_of_the_set():
    with class_sets(SETS):
        found = generalised_cross_entropy(LOGITS, LABEL[0], 0.7)
    assert found[0, 0].item() == pytest.approx((1 - 0.7**0.7) / 0.7, abs=1e-5)
