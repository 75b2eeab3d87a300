from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.affinity import affinities, rank_weights, unreliable_voxels

FIRST = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]).T
NEXT = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]).T
LABEL, NEXT_LABEL = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])


class TestAffinities:
    def test_by_hand(self):
        positive, negative = affinities(FIRST, LABEL, NEXT, NEXT_LABEL)
        assert_close(positive, torch.tensor([0.9, 1.0, 0.8]))
        assert_close(negative, torch.tensor([0.0, 0.3, 0.78]))
        assert (positive.mean().item(), negative.mean().item()) == pytest.approx((0.9, 0.36))

    def test_length_of_features_does_not_matter(self):
        lengths = torch.tensor([2.0, 3.0, 0.5])
        assert_close(
            affinities(lengths * FIRST, LABEL, 7 * NEXT, NEXT_LABEL), affinities(FIRST, LABEL, NEXT, NEXT_LABEL)
        )

    def test_names_of_classes_do_not_matter(self):
        renamed = affinities(FIRST, 1 - LABEL, NEXT, 1 - NEXT_LABEL)
        assert_close(renamed, affinities(FIRST, LABEL, NEXT, NEXT_LABEL))

    def test_a_class_that_the_next_frame_lacks_is_undefined(self):
        positive, negative = affinities(FIRST, LABEL, NEXT, torch.zeros(3).long())
        assert positive.isnan().tolist() == [False, True, True]
        assert negative.isnan().tolist() == [True, False, False]

    def test_unknown_voxels_are_left_out(self):
        positive, negative = affinities(FIRST, torch.tensor([0, 1, IGNORE]), NEXT, torch.tensor([0, IGNORE, 1]))
        assert_close(positive, torch.tensor([1.0, 1.0, math.nan]), equal_nan=True)
        assert_close(negative, torch.tensor([0.0, 0.0, math.nan]), equal_nan=True)

    def test_nothing_known_is_undefined(self):
        nothing = torch.full((3,), IGNORE)
        assert all(each.isnan().all() for each in affinities(FIRST, nothing, NEXT, nothing))

    def test_clean_labels_of_equal_frames_are_confirmed(self):
        random = torch.Generator().manual_seed(0)
        label = (torch.arange(64) % 3).view(8, 8).to(torch.uint8)
        features = torch.eye(3)[label.long()].permute(2, 0, 1) + 0.1 * torch.randn(3, 8, 8, generator=random)
        positive, negative = affinities(features, label, features, label)
        assert positive.shape == (8, 8)
        assert positive.min() > 0.8
        assert negative.max() < 0.4


class TestRankWeights:
    def test_are_linear_in_the_middle_third(self):
        assert rank_weights([0, 1, 2, 3, 4, 5, 6]) == pytest.approx([0.4, 0.4, 0.4, 0.7, 1, 1, 1])
        assert rank_weights([6, 0, 3], 0.2) == pytest.approx([1, 0.2, 0.6])

    def test_equal_ones_weigh_the_same(self):
        assert rank_weights([1.0, 1.0, 1.0]) == pytest.approx([0.7] * 3)

    def test_undefined_and_single_ones_weigh_1(self):
        assert rank_weights([0.0, math.nan, 1.0]) == [0.4, 1, 1]
        assert rank_weights([0.3]) == rank_weights([math.nan]) == [1]


class TestUnreliable:
    def test_voxels_are_low_and_high(self):
        positive, negative = torch.arange(10.0), torch.tensor([9.0, 0, 8, 7, 1, 1, 1, 1, 1, 1])
        assert unreliable_voxels(positive, negative).nonzero().flatten().tolist() == [0, 2]

    def test_voxels_are_a_share_at_most(self):
        positive, negative = torch.rand(2, 1000, generator=torch.Generator().manual_seed(0))
        assert 0 < unreliable_voxels(positive, negative).float().mean() <= 0.3

    def test_undefined_ones_are_left_out(self):
        positive, negative = torch.tensor([0.0, math.nan, 1.0]), torch.tensor([math.nan, 1.0, 0.0])
        assert not unreliable_voxels(positive, negative, 0.5).any()
        assert not unreliable_voxels(positive.fill_(math.nan), negative).any()
