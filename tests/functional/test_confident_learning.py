from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.confident_learning import (
    ConfidentJoint,
    ScoreHistograms,
    SelfConfidence,
    label_issues,
    off_diagonal_issues,
    pruned_issues,
)

PRUNING_RULES = ("prune_by_class", "prune_by_noise_rate", "both")
RULES = (*PRUNING_RULES, "confident_learning")


def binary(p: list[float], label: list[int]) -> tuple[Tensor, Tensor]:
    """One 1D sample of two classes, from the probabilities of the second."""
    object_ = torch.tensor(p)
    return torch.stack([1 - object_, object_]).unsqueeze(0), torch.tensor([label])


def scene(seed: int, classes: int, shape: tuple[int, ...], flipped: float = 0.3) -> tuple[Tensor, Tensor]:
    """Probabilities ``[*shape[:1], classes, *shape[1:]]`` that know the truth better than the labels do."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape)
    label = np.where(rng.random(shape) < flipped, rng.integers(0, classes, shape), truth)
    logits = rng.normal(0, 1.5, (*shape, classes)) + 2 * np.eye(classes)[truth]
    probabilities = torch.from_numpy(logits).softmax(-1).float().movedim(-1, 1)
    return probabilities, torch.from_numpy(label)


def joint_of(probabilities: Tensor, label: Tensor) -> ConfidentJoint:
    confidence = SelfConfidence.empty(probabilities.shape[1]).add(probabilities, label)
    return ConfidentJoint.empty(confidence).add(probabilities, label)


class TestTheExampleWorkedByHand:
    P, LABEL = binary([0.1, 0.1, 0.2, 0.2, 0.9, 0.4, 0.8, 0.9, 0.7, 0.2], [0, 0, 0, 0, 0, 0, 1, 1, 1, 1])

    def test_thresholds_are_the_mean_probabilities_of_the_given_classes(self):
        thresholds = SelfConfidence.empty(2).add(self.P, self.LABEL).thresholds
        assert thresholds.dtype == torch.float64
        assert_close(thresholds, torch.tensor([4.1 / 6, 0.65], dtype=torch.float64), rtol=1e-6, atol=0)

    def test_joint(self):
        joint = joint_of(self.P, self.LABEL)
        # 0.4 and 0.6 reach neither threshold; scaled up to six, 4 and 1 are 4.8 and 1.2.
        assert joint.counts.tolist() == [[4, 1], [1, 3]]
        assert joint.calibrated().tolist() == [[5, 1], [1, 3]]
        assert joint.prune_counts().tolist() == [[1, 1], [1, 1]]

    @pytest.mark.parametrize("rule", RULES)
    def test_two_voxels_are_doubted(self, rule):
        assert label_issues(self.P, self.LABEL, rule).nonzero()[:, 1].tolist() == [4, 9]

    def test_of_several_confident_classes_the_most_probable_counts(self):
        p = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]]).T.unsqueeze(0)
        label, confidence = torch.tensor([[2, 2, 2]]), SelfConfidence.empty(3)
        confidence = replace(confidence, total=torch.tensor([0.3, 0.4, 0.5]).double(), voxels=torch.ones(3).long())
        counts = ConfidentJoint.empty(confidence).add(p, label).counts
        assert counts.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]

    def test_three_classes_are_pruned_each_in_its_own_way(self):
        p = [[0.1, 0.6, 0.3], [0.2, 0.35, 0.45], [0.15, 0.2, 0.65], [0.7, 0.2, 0.1]]
        p, label = torch.tensor(p).T.unsqueeze(0), torch.tensor([[0, 0, 0, 0]])
        histograms = ScoreHistograms.empty(3).add(p, label)
        counts = torch.tensor([[1, 1, 1], [0, 0, 0], [0, 0, 0]])
        cuts = histograms.narrowed(counts).add(p, label).cuts(counts)
        # Scores: the probability of the label; and 1 plus the margin, 0.5 to the second and 0.5 to the third class.
        assert_close(cuts[0], torch.tensor([0.1, 0.5, 0.5]))
        assert cuts[1:].eq(-1).all()
        issues = [pruned_issues(p, label, cuts, rule).nonzero()[:, 1].tolist() for rule in PRUNING_RULES]
        assert issues == [[0], [0, 2], [0]]


class TestAgainstCleanlab:
    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("flipped", [0.05, 0.5])
    @pytest.mark.parametrize(
        ("classes", "shape"), [(2, (3, 20, 30)), (3, (2, 8, 9, 10)), (5, (1, 40, 50)), (8, (4, 6, 6))]
    )
    @pytest.mark.filterwarnings("ignore")
    def test_same_issues(self, rule, flipped, classes, shape):
        cleanlab = pytest.importorskip("cleanlab.filter", exc_type=ImportError)
        probabilities, label = scene(classes, classes, shape, flipped)
        label[torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.2] = IGNORE
        known = label != IGNORE
        rows = probabilities.movedim(1, -1)[known].numpy()
        expected = cleanlab.find_label_issues(label[known].numpy(), rows, filter_by=rule, n_jobs=1)
        found = label_issues(probabilities, label, rule)
        assert expected.any()
        assert np.array_equal(found[known].numpy(), expected)
        assert not found[~known].any()

    @pytest.mark.parametrize("seed", range(6))
    def test_same_joint(self, seed):
        count = pytest.importorskip("cleanlab.count", exc_type=ImportError)
        probabilities, label = scene(seed, 2 + seed, (1, 50 * 3**seed), 0.4)
        expected = count.compute_confident_joint(label[0].numpy(), probabilities[0].T.numpy())
        assert np.array_equal(joint_of(probabilities, label).calibrated().numpy(), expected)


class TestStreaming:
    CHUNKS = tuple(scene(seed, 3, shape) for seed, shape in enumerate([(1, 30, 10), (2, 7, 8), (1, 90, 3)]))

    @classmethod
    def whole(cls) -> tuple[Tensor, Tensor]:
        return (
            torch.cat([p.flatten(2).movedim(0, 1).flatten(1) for p, _ in cls.CHUNKS], 1).unsqueeze(0),
            torch.cat([label.flatten() for _, label in cls.CHUNKS]).unsqueeze(0),
        )

    @classmethod
    def streamed(cls, empty):
        return functools.reduce(lambda sums, chunk: sums.add(*chunk), cls.CHUNKS, empty)

    @pytest.mark.parametrize("rule", PRUNING_RULES)
    def test_pruning_chunk_by_chunk_equals_all_at_once(self, rule):
        confidence = self.streamed(SelfConfidence.empty(3))
        counts = self.streamed(ConfidentJoint.empty(confidence)).prune_counts()
        coarse = self.streamed(ScoreHistograms.empty(3))
        cuts = self.streamed(coarse.narrowed(counts)).cuts(counts)
        found = torch.cat([pruned_issues(p, label, cuts, rule).flatten() for p, label in self.CHUNKS])
        assert torch.equal(found, label_issues(*self.whole(), rule)[0])

    def test_so_does_the_off_diagonal(self):
        thresholds = self.streamed(SelfConfidence.empty(3)).thresholds
        found = torch.cat([off_diagonal_issues(p, label, thresholds).flatten() for p, label in self.CHUNKS])
        assert torch.equal(found, label_issues(*self.whole(), "confident_learning")[0])

    def test_sums_do_not_stall_where_float32_would(self):
        many = replace(
            SelfConfidence.empty(2), total=torch.full((2,), 2.0**25).double(), voxels=torch.full((2,), 2**26)
        )
        more = many.add(*binary([0.5, 0.25], [1, 0]))
        assert (more.total - many.total).tolist() == [0.75, 0.5]
        assert (more.voxels - many.voxels).tolist() == [1, 1]

    def test_sums_given_are_not_changed(self):
        confidence = SelfConfidence.empty(3)
        self.streamed(confidence)
        assert not confidence.total.any()
        assert not confidence.voxels.any()


class TestCuts:
    def test_coarse_ones_take_whole_bins_of_less_than_a_percent(self):
        p, label = scene(0, 3, (1, 5000))
        counts = joint_of(p, label).prune_counts()
        coarse = ScoreHistograms.empty(3).add(p, label)
        fine = coarse.narrowed(counts).add(p, label).cuts(counts)
        assert (coarse.cuts(counts) >= fine).all()
        assert (coarse.cuts(counts) <= 1.008 * fine).all()

    def test_fine_ones_take_exactly_as_many_voxels_as_wanted(self):
        p, label = scene(0, 2, (1, 5000))
        counts = torch.tensor([[100, 0], [7, 2000]])
        cuts = ScoreHistograms.empty(2).add(p, label).narrowed(counts).add(p, label).cuts(counts)
        own = p[0].gather(0, label)[0]
        taken = [(own[label[0] == k] <= cuts[k, k]).sum().item() for k in range(2)]
        assert taken == [100, 2000]

    def test_voxels_of_equal_score_share_their_fate(self):
        p, label = binary([1.0] * 5 + [0.0] * 5, [0] * 5 + [0] * 5)
        counts = torch.tensor([[2, 2], [0, 0]])
        cuts = ScoreHistograms.empty(2).add(p, label).narrowed(counts).add(p, label).cuts(counts)
        assert pruned_issues(p, label, cuts).tolist() == [[True] * 5 + [False] * 5]

    def test_probabilities_may_leave_their_range_by_a_rounding_error(self):
        p, label = binary([1 + 1e-6, 1e-6, -1e-6, 1.0, 0.0], [0, 0, 1, 1, 0])
        assert label_issues(p, label, "prune_by_class").tolist() == [[True, False, True, False, False]]


@pytest.mark.parametrize("rule", RULES)
class TestProperties:
    def test_labels_that_the_network_predicts_are_not_doubted(self, rule):
        p, _ = scene(0, 4, (2, 10, 10))
        assert not label_issues(p, p.argmax(1), rule).any()

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 1000), classes=st.integers(2, 4))
    def test_order_of_the_voxels_does_not_matter(self, rule, seed, classes):
        p, label = scene(seed, classes, (1, 60))
        order = torch.from_numpy(np.random.default_rng(seed).permutation(60))
        assert torch.equal(label_issues(p[:, :, order], label[:, order], rule), label_issues(p, label, rule)[:, order])

    @pytest.mark.parametrize("seed", range(3))
    def test_names_of_the_classes_do_not_matter(self, rule, seed):
        p, label = scene(seed, 2, (1, 997))  # a prime number, so that no row of the joint is rounded at a half
        assert torch.equal(label_issues(p.flip(1), 1 - label, rule), label_issues(p, label, rule))

    def test_voxels_without_a_label_change_nothing(self, rule):
        p, label = scene(0, 3, (1, 20, 20))
        label[:, :10] = IGNORE
        found = label_issues(p, label, rule)
        assert torch.equal(found[:, 10:], label_issues(p[:, :, 10:], label[:, 10:], rule))
        assert found.any()
        assert not found[:, :10].any()

    @pytest.mark.parametrize("value", [0, 2, IGNORE])
    def test_one_class_or_no_label_at_all_is_no_issue(self, rule, value):
        p, label = scene(0, 3, (1, 10, 10))
        assert not label_issues(p, torch.full_like(label, value), rule).any()

    def test_a_class_that_no_voxel_is_labelled_as_is_never_suspected(self, rule):
        p, label = scene(0, 3, (1, 2000))
        label = label.masked_fill(label == 2, 0)
        assert joint_of(p, label).counts[:, 2].tolist() == [0, 0, 0]
        assert label_issues(p, label, rule).any()

    def test_a_class_of_one_voxel_is_left_alone(self, rule):
        p, label = binary([0.1, 0.2, 0.1, 0.9, 0.1], [0, 0, 0, 0, 1])
        assert label_issues(p, label, rule)[0, 4].item() is (rule == "confident_learning")

    def test_half_precision_will_do_and_no_graph_is_built(self, rule):
        p, label = scene(0, 2, (1, 100))
        found = label_issues(p.bfloat16().requires_grad_(), label, rule)
        assert not found.requires_grad
        assert found.any()
