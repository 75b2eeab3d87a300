from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.prototypes import (
    agrees_with_nearest_prototype,
    class_prototypes,
    cosine_similarities,
    majority,
    squared_distances,
)

# The example worked by hand: one channel, four voxels in a row; the object is predicted at the last two.
FEATURES = torch.tensor([[[0.0, 1.0, 4.0, 5.0]]])
OBJECT = torch.tensor([0.1, 0.2, 0.9, 0.6])
WEIGHTS = torch.stack([(1 - OBJECT) * torch.tensor([1.0, 1, 0, 0]), OBJECT * torch.tensor([0.0, 0, 1, 1])]).unsqueeze(0)
MODES = {2: "bilinear", 3: "trilinear"}


class TestByHand:
    def test_prototypes(self):
        assert_close(class_prototypes(FEATURES, WEIGHTS), torch.tensor([[[0.470588], [4.4]]]), atol=1e-4, rtol=0)

    def test_clean_mask(self):
        distances = squared_distances(FEATURES, class_prototypes(FEATURES, WEIGHTS), [4])
        clean = agrees_with_nearest_prototype(distances, torch.tensor([[0, 1, 1, 0]]))
        assert clean.tolist() == [[True, False, True, False]]

    def test_boundary_lies_half_way_between_the_prototypes(self):
        places = torch.tensor([[[2.43528, 2.43530]]])
        distances = squared_distances(places, torch.tensor([[[0.470588], [4.4]]]), [2])
        assert agrees_with_nearest_prototype(distances, torch.tensor([[0, 1]])).all()

    def test_a_class_without_weight_has_the_zero_prototype(self):
        prototypes = class_prototypes(FEATURES + 1, WEIGHTS * torch.tensor([1.0, 0.0]).view(1, 2, 1))
        assert prototypes[0, 1].item() == 0
        assert prototypes[0, 0].item() == pytest.approx(1.470588, abs=1e-4)


@pytest.mark.parametrize(
    ("coarse", "size"), [((3, 4), (6, 8)), ((2, 3), (5, 9)), ((2, 2, 3), (8, 4, 6)), ((4, 4), (4, 4))]
)
class TestOnCoarseFeatures:
    """Everything equals the plain computation on features that were upsampled first."""

    @pytest.fixture
    def random(self):
        return torch.Generator().manual_seed(0)

    def test_prototypes(self, coarse, size, random):
        features = torch.randn(2, 5, *coarse, generator=random)
        weights = torch.rand(2, 3, *size, generator=random)
        fine = F.interpolate(features, size=size, mode=MODES[len(size)], align_corners=False)
        expected = torch.zeros(2, 3, 5)
        for item in range(2):
            for cls in range(3):
                weight = weights[item, cls]
                expected[item, cls] = (fine[item] * weight).flatten(1).sum(1) / weight.sum()
        assert_close(class_prototypes(features, weights), expected, atol=1e-4, rtol=1e-4)

    def test_distances(self, coarse, size, random):
        features = torch.randn(2, 5, *coarse, generator=random)
        prototypes = torch.randn(2, 3, 5, generator=random)
        fine = F.interpolate(features, size=size, mode=MODES[len(size)], align_corners=False)
        expected = torch.zeros(2, 3, *size)
        for item in range(2):
            for cls in range(3):
                prototype = prototypes[item, cls].view(-1, *[1] * len(size))
                expected[item, cls] = (fine[item] - prototype).square().sum(0)
        shared = fine.square().sum(1, keepdim=True)
        assert_close(squared_distances(features, prototypes, size) + shared, expected, atol=1e-4, rtol=1e-4)


class TestAgreement:
    def test_a_tie_speaks_for_neither_class(self):
        distances = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
        assert agrees_with_nearest_prototype(distances, torch.tensor([[0, 1]])).tolist() == [[False, False]]

    def test_a_tie_of_two_others_does_not_matter(self):
        distances = torch.tensor([0.0, 2.0, 2.0]).view(1, 3, 1)
        assert agrees_with_nearest_prototype(distances, torch.tensor([[0]])).item() is True

    def test_a_tie_for_the_first_place_with_a_third_class_counts(self):
        distances = torch.tensor([1.0, 3.0, 1.0]).view(1, 3, 1)
        for label in range(3):
            assert agrees_with_nearest_prototype(distances, torch.tensor([[label]])).item() is False

    def test_classes_that_were_not_found_never_agree_and_never_compete(self):
        distances = torch.tensor([1.0, torch.inf, 5.0, torch.inf]).view(1, 4, 1)
        agreed = [agrees_with_nearest_prototype(distances, torch.tensor([[label]])).item() for label in range(4)]
        assert agreed == [True, False, False, False]

    def test_ignored_voxels_never_agree(self):
        distances = torch.tensor([[[-5.0, 5.0], [5.0, -5.0]]])
        assert not agrees_with_nearest_prototype(distances, torch.full((1, 2), IGNORE)).any()

    @given(st.integers(0, 2**32), st.integers(2, 4), st.integers(2, 3))
    def test_is_the_rule_in_words(self, seed, classes, dimensions):
        random = torch.Generator().manual_seed(seed)
        shape = (2, *[2] * dimensions)
        distances = torch.randint(-3, 3, (2, classes, *shape[1:]), generator=random).float()  # many ties
        label = torch.randint(0, classes + 1, shape, generator=random)
        label[label == classes] = IGNORE
        agreed = agrees_with_nearest_prototype(distances, label)
        assert agreed.shape == shape
        for index in torch.cartesian_prod(*[torch.arange(side) for side in shape]).tolist():
            item, *place = index
            own = label[tuple(index)].item()
            here = [distances[(item, cls, *place)].item() for cls in range(classes)]
            expected = own != IGNORE and all(here[own] < here[cls] for cls in range(classes) if cls != own)
            assert agreed[tuple(index)].item() == expected


@pytest.mark.parametrize(
    ("votes", "won"),
    [
        ("101", True),
        ("100", False),
        ("111", True),
        ("000", False),
        ("1", True),
        ("0", False),
        ("10", False),
        ("1100", False),
    ],
)
def test_majority(votes, won):
    assert majority([torch.tensor([vote == "1"]) for vote in votes]).item() is won


def test_majority_votes_voxel_by_voxel():
    votes = [torch.tensor([[True, True]]), torch.tensor([[True, False]]), torch.tensor([[False, False]])]
    assert majority(votes).tolist() == [[True, False]]


class TestCosineSimilarities:
    def test_by_hand(self):
        features = torch.tensor([[[3.0, 0.0, -1.0, 0.0], [4.0, 2.0, 0.0, 0.0]]])  # two channels, four voxels
        prototypes = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
        expected = torch.tensor([[[0.6, 0.0, -1.0, 0.0], [0.8, 1.0, 0.0, 0.0]]])
        assert_close(cosine_similarities(features, prototypes), expected)

    @pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)])
    @pytest.mark.parametrize("items", [1, 2])
    def test_is_the_plain_computation(self, size, items):
        random = torch.Generator().manual_seed(0)
        features, prototypes = torch.randn(2, 5, *size, generator=random), torch.randn(items, 3, 5, generator=random)
        result = cosine_similarities(features, prototypes)
        for item in range(2):
            for cls in range(3):
                prototype = prototypes[item % items, cls].view(5, *[1] * len(size))
                assert_close(result[item, cls], F.cosine_similarity(features[item], prototype.expand(5, *size), dim=0))

    def test_a_feature_next_to_nothing_pulls_no_harder_than_others(self):
        features = torch.tensor([[[1e-12, 1.0], [0.0, 1.0]]], requires_grad=True)
        cosine_similarities(features, torch.tensor([[[0.0, 1.0]]])).sum().backward()
        assert features.grad.abs().max() < 1.1e4
