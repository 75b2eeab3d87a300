from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.prototype_cycle import backward_loss, forward_loss, prototype_scores


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


class TestScores:
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


class TestForward:
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


class TestBackward:
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
