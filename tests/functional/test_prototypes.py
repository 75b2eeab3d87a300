from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.prototypes import (
    agrees_with_nearest_prototype,
    backward_loss,
    cell_features,
    class_prototypes,
    cosine_similarities,
    forward_loss,
    majority,
    mean_cosine,
    prototype_scores,
    prototype_similarity,
    representation,
    squared_distances,
)

# The example worked by hand: one channel, four voxels in a row; the object is predicted at the last two.
FEATURES = torch.tensor([[[0.0, 1.0, 4.0, 5.0]]])

OBJECT = torch.tensor([0.1, 0.2, 0.9, 0.6])

WEIGHTS = torch.stack([(1 - OBJECT) * torch.tensor([1.0, 1, 0, 0]), OBJECT * torch.tensor([0.0, 0, 1, 1])]).unsqueeze(0)

MODES = {2: "bilinear", 3: "trilinear"}


class TestPrototypesByHand:
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


def features(*vectors: tuple[float, ...]) -> Tensor:
    """One item ``[1, L, voxels]``."""
    return torch.tensor(vectors).T.unsqueeze(0)


def probabilities(*of_object: float) -> Tensor:
    """``[1, 2, voxels]``."""
    p = torch.tensor(of_object)
    return torch.stack([1 - p, p]).unsqueeze(0)


X, Y, BETWEEN = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)

APART = features(X, X, Y, Y)

LABEL = torch.tensor([[0, 0, 1, 1]])

SURE = torch.ones(1, 2, 4)


class TestPrototypeScores:
    def test_of_orthogonal_classes_leave_no_doubt(self):
        weights = F.one_hot(LABEL, 2).movedim(2, 1).float()
        scores, found = prototype_scores(APART, APART, weights)
        assert_close(scores.softmax(1), weights, atol=1e-8, rtol=0)
        assert found.tolist() == [True, True]

    def test_by_hand(self):
        # The prototype of the second class is the mean of y and y + x, weighted 3 to 1: (1/4, 1).
        source, weights = features(X, Y, BETWEEN), torch.tensor([[[2.0, 0, 0], [0, 3, 1]]])
        scores, _ = prototype_scores(features(X, BETWEEN), source, weights)
        expected = [[20.0, 20 / math.sqrt(2)], [5 / math.sqrt(17 / 16), 25 / math.sqrt(2 * 17 / 16)]]
        assert_close(scores, torch.tensor([expected]), atol=1e-3, rtol=1e-5)

    def test_do_not_depend_on_the_scale_of_weights_and_features(self):
        random = torch.Generator().manual_seed(0)
        one, other = torch.randn(2, 3, 5, 4, 4, generator=random)
        weights = torch.rand(3, 2, 4, 4, generator=random)
        scores, _ = prototype_scores(one, other, weights)
        assert_close(prototype_scores(7 * one, 0.5 * other, 3 * weights)[0], scores, atol=1e-4, rtol=1e-4)

    def test_all_samples_of_the_source_make_the_prototypes_together(self):
        # One item has the first class only, the other one the second class only.
        source = torch.cat([features(X, X), features(Y, Y)])
        weights = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])
        scores, found = prototype_scores(APART, source, weights)
        assert found.all()
        assert scores.argmax(1).tolist() == LABEL.tolist()

    def test_a_class_without_weight_is_never_predicted(self):
        scores, found = prototype_scores(features(X, Y), APART, torch.tensor([[[1.0, 1, 0, 0], [0, 0, 0, 0]]]))
        assert found.tolist() == [True, False]
        assert scores.softmax(1)[0, 1].tolist() == [0, 0]

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_is_the_plain_computation(self, dimensions):
        random, size = torch.Generator().manual_seed(0), [3] * dimensions
        given, source = torch.randn(2, 2, 4, *size, generator=random)
        weights = torch.rand(2, 3, *size, generator=random)
        scores, _ = prototype_scores(given, source, weights)
        for cls in range(3):
            total = (weights[:, cls : cls + 1] * source).transpose(0, 1).flatten(1).sum(1)
            prototype = (total / weights[:, cls].sum()).view(1, -1, *[1] * dimensions)
            assert_close(scores[:, cls], 20 * F.cosine_similarity(given, prototype, dim=1), atol=1e-3, rtol=1e-4)


class TestForwardLoss:
    def test_by_hand(self):
        # Scores of the voxel in between are equal, those of the others leave no doubt.
        loss = forward_loss(APART, LABEL, SURE, features(X, Y, BETWEEN), probabilities(0.2, 1.0, 0.7))
        assert_close(loss, torch.tensor([[0.04, 0.0, 0.04]]), atol=1e-6, rtol=0)

    def test_sure_voxels_weigh_more(self):
        certainty = probabilities(0.0, 0.0, 0.75, 0.25)
        loss = forward_loss(features(X, X, Y, BETWEEN), LABEL, certainty, features(BETWEEN), probabilities(0.0))
        # The prototype of the object is (1, 4) / 4, as in the scores worked by hand.
        object_probability = torch.tensor(25 / math.sqrt(2 * 17 / 16) - 20 / math.sqrt(2)).sigmoid().item()
        assert loss.item() == pytest.approx(object_probability**2, abs=1e-5)

    def test_unknown_labels_are_in_no_prototype(self):
        label = torch.tensor([[0, IGNORE, 1, IGNORE]])
        lost = features(X, (50.0, 50.0), Y, (-50.0, 50.0))
        target = probabilities(0.2, 1.0, 0.7)
        loss = forward_loss(lost, label, SURE, features(X, Y, BETWEEN), target)
        assert_close(loss, forward_loss(APART, LABEL, SURE, features(X, Y, BETWEEN), target), atol=1e-4, rtol=0)

    def test_pulls_both_sides(self):
        labelled, unlabelled = APART.clone().requires_grad_(), features(BETWEEN, X).requires_grad_()
        forward_loss(labelled, LABEL, SURE, unlabelled, probabilities(0.9, 0.1)).sum().backward()
        assert labelled.grad.any()
        assert unlabelled.grad.any()

    def test_without_any_label_is_finite_and_pulls_nowhere(self):
        labelled, unlabelled = APART.clone().requires_grad_(), features(BETWEEN, X).requires_grad_()
        loss = forward_loss(labelled, torch.full_like(LABEL, IGNORE), SURE, unlabelled, probabilities(0.9, 0.1)).sum()
        loss.backward()
        assert loss.isfinite()
        assert not labelled.grad.any()
        assert not unlabelled.grad.any()


class TestBackwardLoss:
    def test_of_labels_that_fit_is_nothing(self):
        # A second softmax would put 0.3133 here.
        loss = backward_loss(APART, probabilities(0.1, 0.2, 0.9, 0.8), APART, LABEL)
        assert loss.item() == pytest.approx(0, abs=1e-6)

    def test_by_hand(self):
        loss = backward_loss(
            APART, probabilities(0.1, 0.2, 0.9, 0.8), features(X, BETWEEN, X), torch.tensor([[0, 1, 1]])
        )
        assert loss.item() == pytest.approx((0 + math.log(2) + 20) / 3, abs=1e-4)

    def test_voxels_are_of_the_class_predicted_there_and_weigh_what_it_is_sure_of(self):
        # The third voxel belongs to the background, by 0.6; the object's prototype is y alone.
        loss = backward_loss(features(X, Y, Y), probabilities(0.0, 0.9, 0.4), features(X), torch.tensor([[1]]))
        # The background's is (1, 0.6) / 1.6.
        assert loss.item() == pytest.approx(20 / math.sqrt(1 + 0.6**2), abs=1e-3)

    def test_labels_of_classes_that_were_not_found_are_left_out(self):
        nothing = probabilities(0.1, 0.1, 0.1, 0.1)
        label = torch.tensor([[0, 1, 1, IGNORE]])
        assert backward_loss(APART, nothing, APART, label).item() == pytest.approx(0, abs=1e-6)
        assert backward_loss(APART, nothing, APART, torch.ones_like(label)).item() == 0

    def test_unknown_labels_count_nothing(self):
        given = features(X, BETWEEN, X)
        alone = backward_loss(APART, probabilities(0.1, 0.2, 0.9, 0.8), given[..., 1:2], torch.tensor([[1]]))
        loss = backward_loss(APART, probabilities(0.1, 0.2, 0.9, 0.8), given, torch.tensor([[IGNORE, 1, IGNORE]]))
        assert_close(loss, alone)

    def test_pulls_both_sides(self):
        labelled, unlabelled = features(BETWEEN, X).requires_grad_(), APART.clone().requires_grad_()
        backward_loss(unlabelled, probabilities(0.1, 0.2, 0.9, 0.8), labelled, torch.tensor([[0, 1]])).backward()
        assert labelled.grad.any()
        assert unlabelled.grad.any()


THREE = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])


def image(rows: list[list[float]]) -> Tensor:
    """Features ``[L, voxels]`` from one feature a voxel."""
    return torch.tensor(rows).T


def slow_cells(features: Tensor, region: Tensor, cells: int) -> dict[tuple[int, ...], Tensor]:
    found: dict[tuple[int, ...], list[Tensor]] = {}
    for voxel in region.nonzero().tolist():
        cell = tuple(cells * at // side for at, side in zip(voxel, region.shape, strict=True))
        found.setdefault(cell, []).append(features[:, *voxel])
    return {cell: torch.stack(each).mean(0) for cell, each in sorted(found.items())}


class TestCellFeatures:
    def test_take_the_voxels_of_the_region_only(self):
        features = torch.arange(16.0).view(1, 4, 4)
        region = torch.zeros(4, 4, dtype=torch.bool)
        region[0, 1] = region[2, 2] = region[3, 3] = True
        # Two by two cells: one voxel in the first, 10 and 15 in the last, none elsewhere.
        assert cell_features(features, region, 2).tolist() == [[1.0], [12.5]]

    def test_of_one_cell_are_the_mean(self):
        features, region = torch.randn(3, 5, 7), torch.rand(5, 7) < 0.5
        assert_close(cell_features(features, region, 1), features[:, region].mean(1, keepdim=True).T)

    @given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([(9,), (8, 6), (5, 7, 4)]))
    def test_equal_those_found_one_by_one(self, seed, cells, shape):
        random = torch.Generator().manual_seed(seed)
        features, region = torch.randn(3, *shape, generator=random), torch.rand(shape, generator=random) < 0.6
        region[(0,) * len(shape)] = True
        assert_close(
            cell_features(features, region, cells), torch.stack([*slow_cells(features, region, cells).values()])
        )


class TestRepresentation:
    def test_by_hand(self):
        assert_close(representation(THREE), torch.tensor([1.99504, 2.09454, 1.09950]), atol=1e-5, rtol=0)
        assert_close(representation(5 * THREE), representation(THREE))

    @given(st.integers(0, 2**32), st.integers(1, 8))
    def test_is_the_sum_of_all_cosines(self, seed, count):
        features = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
        cosines = F.cosine_similarity(features.unsqueeze(0), features.unsqueeze(1), dim=2)
        assert_close(representation(features), cosines.sum(1), atol=1e-5, rtol=1e-4)


class TestMeanCosine:
    def test_by_hand(self):
        prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        assert mean_cosine(image([[1.0, 0.0]]), prototypes).item() == pytest.approx(0.569036, abs=1e-6)

    @given(st.integers(0, 2**32), st.sampled_from([(4, 3), (3, 2, 4)]))
    def test_is_the_mean_over_the_prototypes(self, seed, shape):
        random = torch.Generator().manual_seed(seed)
        features, prototypes = torch.randn(5, *shape, generator=random), torch.randn(3, 5, generator=random)
        each = [F.cosine_similarity(features, q.view(-1, *[1] * len(shape)), dim=0) for q in prototypes]
        assert_close(mean_cosine(features, prototypes), torch.stack(each).mean(0), atol=1e-5, rtol=1e-4)


class TestPrototypeSimilarity:
    INSIDE = torch.tensor([True, True, True, False])

    @pytest.mark.parametrize(("threshold", "prototypes"), [(0.7, 2), (0.53, 2), (0.52, 3), (1.0, 1)])
    def test_looks_at_the_representative_cells_only(self, threshold, prototypes):
        # Divided by the largest, the representations are 0.95249, 1 and 0.52494.
        features = image([*THREE.tolist(), [1.0, 0.05]])
        chosen = {1: THREE[1:2], 2: THREE[:2], 3: THREE}[prototypes]
        assert_close(prototype_similarity(features, self.INSIDE, 4, threshold), mean_cosine(features, chosen))

    def test_of_one_cell_compares_with_the_mean(self):
        features = image([*THREE.tolist(), [1.0, 0.05]])
        assert_close(
            prototype_similarity(features, self.INSIDE, 1, 0.7), mean_cosine(features, THREE.mean(0, keepdim=True))
        )

    def test_nothing_is_like_an_empty_region(self):
        assert prototype_similarity(torch.randn(3, 4, 5), torch.zeros(4, 5, dtype=torch.bool), 2, 0.7).equal(
            torch.zeros(4, 5)
        )

    def test_without_features_nothing_is_alike(self):
        assert prototype_similarity(torch.zeros(3, 4), self.INSIDE, 4, 0.7).equal(torch.zeros(4))
        opposite = image([[1.0], [-1.0], [0.0], [2.0]])
        assert_close(prototype_similarity(opposite, torch.tensor([True, True, False, False]), 4, 0.7), torch.zeros(4))
