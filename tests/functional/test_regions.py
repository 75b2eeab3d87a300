"""Dice losses of regions."""

import pytest
import torch

from segmend.functional.dice import cross_entropy_dice, dice_loss_by_sample, squared_dice_loss
from segmend.functional.regions import by_region, dice_by_region
from segmend.functional.soft_labels import one_hot

MAPS = torch.tensor([[[0.1, 0.5], [0.2, 0.1], [0.3, 0.2], [0.4, 0.2]]])
REGIONS = [(1, 2, 3), (2, 3), (3,)]


def test_a_region_is_the_sum_of_its_classes():
    with dice_by_region(REGIONS):
        found = by_region(MAPS)
    expected = [[0.1, 0.5], [0.9, 0.5], [0.7, 0.4], [0.4, 0.2]]
    assert found[0].tolist() == [pytest.approx(row) for row in expected]


def test_without_regions_nothing_changes():
    assert by_region(MAPS) is MAPS
    with dice_by_region(()):
        assert by_region(MAPS) is MAPS
    with pytest.raises(ZeroDivisionError), dice_by_region(REGIONS):
        raise ZeroDivisionError
    assert by_region(MAPS) is MAPS


def test_dice_losses_are_of_regions():
    target = one_hot(torch.tensor([[3, 0]]), 4)
    with dice_by_region(REGIONS):
        squared, by_sample = squared_dice_loss(MAPS, target), dice_loss_by_sample(MAPS, target, 0.0)
    # The region of classes 2 and 3: predicted 0.7 and 0.4, true 1 and 0.
    assert squared[2].item() == pytest.approx(1 - 2 * 0.7 / (0.7**2 + 0.4**2 + 1), abs=1e-4)
    assert by_sample[0, 2].item() == pytest.approx(1 - 2 * 0.7 / (0.7 + 0.4 + 1), abs=1e-4)
    assert squared.shape == (4,)


def test_a_class_of_one_voxel_does_not_decide_the_loss():
    label = torch.ones(1, 100, dtype=torch.long)
    label[0, 0] = 2
    logits = 10.0 * one_hot(torch.ones(1, 100, dtype=torch.long), 3)
    by_class = cross_entropy_dice(logits, label)
    with dice_by_region([(1, 2)]):
        by_regions = cross_entropy_dice(logits, label)
    assert by_class - by_regions > 0.1
