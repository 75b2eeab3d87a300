from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.cleansing import batch_dice_loss, clean_labels, redrawn_label

ARGUMENTS = {"cells": 4, "representative": 0.7, "similarity": 0.7, "centred": False, "fragment": 0.1}
LOW, HIGH = [0.01 * each for each in range(1, 8)], [0.8 + 0.01 * each for each in range(7)]


def test_dice_loss_is_of_the_batch_as_one_region():
    predicted = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    both = torch.stack([1 - predicted, predicted], 1)
    label = torch.tensor([[1, 1], [1, IGNORE]])
    assert batch_dice_loss(both, label).item() == pytest.approx(1 - 2 * 1.5 / (1.5 + 3), abs=1e-5)


class TestCleanLabels:
    def losses(self, *values: float) -> Tensor:
        return torch.tensor(values).unsqueeze(1)

    def test_are_those_of_the_lower_component(self):
        given, pseudo = self.losses(*LOW, *HIGH), self.losses(*HIGH, *LOW)
        clean = clean_labels(given, pseudo, torch.ones(14, dtype=torch.bool))
        assert clean[0, :, 0].tolist() == [True] * 7 + [False] * 7
        assert clean[1, :, 0].tolist() == [False] * 7 + [True] * 7

    def test_a_cleansed_label_must_be_there_and_overlap(self):
        made = torch.tensor([True, False, True])
        clean = clean_labels(self.losses(0.1, 0.1, 0.1), self.losses(0.1, 0.1, 1.0), made)
        assert clean[0].all(), "too few to be distinguished"
        assert clean[1, :, 0].tolist() == [True, False, False]


class TestRedrawnLabel:
    SEEN = torch.tensor([[0.9, 0.9, 0.2, 0.2, 0.2, 0.2]])
    FEATURES = torch.tensor([[[1.0, 1, 1, 0, 0, 0]], [[0.0, 0, 0, 1, 1, 1]]])

    def test_is_where_features_are_those_of_what_is_seen(self):
        found = redrawn_label(self.SEEN, self.FEATURES, **ARGUMENTS, prototypes=True)
        assert found[0, :3].tolist() == pytest.approx([1, 1, 1])
        assert found[0, 3:].eq(-torch.inf).all()

    def test_or_what_is_seen_itself(self):
        found = redrawn_label(self.SEEN, self.FEATURES, **ARGUMENTS, prototypes=False)
        assert found[0].tolist() == pytest.approx([0.9, 0.9, *[-torch.inf] * 4])

    def test_an_object_that_is_not_seen_has_none(self):
        assert redrawn_label(0 * self.SEEN, self.FEATURES, **ARGUMENTS, prototypes=True).eq(-torch.inf).all()
