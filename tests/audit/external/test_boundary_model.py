from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.audit.external.boundary_model import (
    REACH,
    BoundaryModel,
    DistanceSample,
    class_distances,
    log_likelihoods,
)
from segmend.core.masks import IGNORE


def maps_of(model, label, classes=2, spacing=None):
    return np.stack(list(model.probabilities(label, classes, spacing or (1.0,) * label.ndim)))


def stripes(*widths):
    """A 1-voxel thick 2D label with stripes of the classes 0, 1, 2, ..."""
    return np.repeat(np.arange(len(widths), dtype=np.uint8), widths)[None]


class TestProbabilities:
    def test_of_an_object_they_are_the_logistic_function_of_the_distance(self):
        found = maps_of(BoundaryModel(width=2.0, reach=20.0), stripes(4, 4), spacing=(3.0, 3.0))
        # Half a voxel, 1.5 mm, before the first voxel of the other side; then 3 mm a voxel.
        distance = np.array([10.5, 7.5, 4.5, 1.5, -1.5, -4.5, -7.5, -10.5])
        np.testing.assert_allclose(found[1, 0], 1 / (1 + np.exp(distance / 2.0)), rtol=1e-5)

    def test_of_several_classes_they_are_a_softmax(self):
        found = maps_of(BoundaryModel(width=0.5, reach=20.0), stripes(2, 2, 2), classes=3)[:, 0]
        distances = np.array(
            [[-1.5, -0.5, 0.5, 1.5, 2.5, 3.5], [1.5, 0.5, -0.5, -0.5, 0.5, 1.5], [3.5, 2.5, 1.5, 0.5, -0.5, -1.5]]
        )
        weights = np.exp(-distances)
        np.testing.assert_allclose(found, weights / weights.sum(0), rtol=1e-5)

    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.4, 3.0]), st.integers(2, 5))
    def test_they_sum_to_1_and_agree_with_the_label(self, seed, width, classes):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, classes, (3, 4, 2)).astype(np.uint8)
        label = coarse.repeat(3, 0).repeat(2, 1).repeat(4, 2)
        found = maps_of(BoundaryModel(width, reach=8.0), label, classes, (0.8, 1.0, 2.0))
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
        assert (np.take_along_axis(found, label[None].astype(int), 0)[0] >= found.max(0) - 1e-6).all()

    @pytest.mark.parametrize("classes", [2, 4])
    def test_a_label_map_of_background_alone(self, classes):
        found = maps_of(BoundaryModel(1.0, reach=20.0), np.zeros((3, 3), np.uint8), classes)
        np.testing.assert_allclose(found.sum(0), 1, rtol=1e-6)
        assert (found[0] > 0.9999).all()

    def test_far_away_only_the_reach_counts(self):
        label = np.zeros((1, 100), np.uint8)
        label[0, :5] = 1
        found = maps_of(BoundaryModel(width=2.0, reach=6.0), label)[1, 0]
        np.testing.assert_allclose(found[20:], 1 / (1 + np.exp(6.0 / 2.0)), rtol=1e-5)


class TestClassDistances:
    def test_a_class_that_is_absent_has_none(self):
        found = {index: box for index, box, _ in class_distances(stripes(30, 2), 4, (1.0, 1.0), 5.0)}
        assert found == {0: (slice(0, 1), slice(25, 32)), 1: (slice(0, 1), slice(25, 32))}


class TestFit:
    @pytest.mark.parametrize("off", [1, 3])
    def test_the_width_grows_with_the_usual_error(self, off):
        samples = []
        for seed in range(8):
            start = 20 + off * (1 if seed % 2 else -1)
            samples.append(DistanceSample.of(stripes(20, 20), stripes(start, 40 - start), 2, (1.0, 1.0), 20.0, 100))
        # The labels say: up to a distance of ``off`` beyond the surface, half of the voxels are of the other side.
        model = BoundaryModel.of(samples, 20.0)
        assert 0.2 * off < model.width < off

    def test_it_is_the_width_of_the_highest_upper_quartile_of_the_likelihoods(self):
        labels = [stripes(10, 10), stripes(11, 9), stripes(13, 7)]
        samples = [DistanceSample.of(label, stripes(10, 10), 2, (1.0, 1.0), 20.0, 100) for label in labels]
        model = BoundaryModel.of(samples, 20.0)
        widths = np.array([model.width / 1.5, model.width, model.width * 1.5])
        quartiles = np.quantile([log_likelihoods(sample, widths) for sample in samples], 0.75, axis=0)
        assert quartiles.argmax() == 1

    def test_the_likelihood_of_a_label(self):
        """Distances -1 and 1 of two voxels that are labelled as predicted, 3 of one that is not."""
        distances = np.array([[1.0, -1.0, -3.0], [-1.0, 1.0, 3.0]], np.float32)
        sample = DistanceSample(distances, np.array([1, 0, 1], np.uint8))
        right, wrong = -np.log1p(np.exp(-1 / 2.0)), -np.log1p(np.exp(3 / 2.0))
        # Class 0 has one voxel and class 1 two: each class weighs a half.
        expected = right / 2 + (right + wrong) / 4
        assert log_likelihoods(sample, np.array([2.0]))[0] == pytest.approx(expected)

    def test_what_is_not_annotated_does_not_count(self):
        label = stripes(20, 20)
        label[0, 30:] = IGNORE
        sample = DistanceSample.of(label, stripes(20, 20), 2, (1.0, 1.0), 20.0, 100)
        assert sorted(sample.label.tolist()) == [0] * 10 + [1] * 10
        assert sample.distances[1].min() == -9.5

    def test_without_any_object_it_is_a_voxel(self):
        sample = DistanceSample.of(np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint8), 2, (2.0, 2.0), 40.0, 9)
        assert BoundaryModel.of([sample], 40.0).width == 40.0 / REACH
