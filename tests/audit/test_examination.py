from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segmend.audit import examination as module
from segmend.audit.calibration import Calibration
from segmend.audit.evidence import Evidence, write_evidence
from segmend.audit.examination import Examination, median_surface_distance
from segmend.core.masks import IGNORE
from segmend.functional.confident_learning import off_diagonal_issues


@pytest.fixture
def random_case(tmp_path):
    rng = np.random.default_rng(3)
    maps = rng.dirichlet([0.4] * 4, (9, 8, 7)).transpose(3, 0, 1, 2)
    write_evidence(tmp_path / "a.npz", maps)
    label = rng.integers(0, 4, (9, 8, 7)).astype(np.uint8)
    label[:2, :3] = IGNORE
    return label, Evidence(tmp_path / "a.npz")


@pytest.mark.parametrize("at_once", [2**25, 40])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_is_what_all_classes_together_give(random_case, monkeypatch, at_once, temperature):
    monkeypatch.setattr(module, "_MAX_PROBABILITIES", at_once)
    label, evidence = random_case
    thresholds = np.array([0.4, 0.5, 0.3, 0.6])
    found = Examination.of(label, evidence, Calibration(temperature, thresholds))
    maps = np.stack([evidence.probability(index) for index in range(4)]) ** (1 / temperature)
    maps /= maps.sum(0)
    np.testing.assert_array_equal(found.predicted, maps.argmax(0))
    np.testing.assert_allclose(found.highest, maps.max(0), rtol=1e-5)
    expected = off_diagonal_issues(
        torch.from_numpy(maps)[None], torch.from_numpy(label)[None], torch.from_numpy(thresholds)
    )[0].numpy()
    np.testing.assert_array_equal(found.flagged, expected)
    assert found.flagged.any()
    assert not found.flagged[label == IGNORE].any()


def test_a_confident_voxel_is_an_issue_and_a_doubtful_one_is_not(examine):
    truth, label = np.zeros((2, 12, 12), np.uint8)
    truth[4:8, 4:8], label[4:8, 4:6] = 1, 1
    sure = np.full(truth.shape, 0.97)
    sure[4:6, 6:8] = 0.7
    flagged = examine(label, truth, sure=sure).flagged
    expected = np.zeros_like(flagged)
    expected[6:8, 6:8] = True
    np.testing.assert_array_equal(flagged, expected)


class TestParts:
    def test_what_a_class_looks_like(self, examine):
        truth, label = np.zeros((2, 50, 50), np.uint8)
        truth[20:30, 20:30], label[20:30, 24:34], label[20:22, 24:34] = 1, 1, 2
        first, second = examine(label, truth, classes=3).parts()
        assert (first.index, second.index) == (1, 2)
        assert first.box == (slice(10, 40), slice(10, 44))
        np.testing.assert_array_equal(first.given, label[first.box] == 1)
        np.testing.assert_array_equal(first.predicted, truth[first.box] == 1)
        np.testing.assert_array_equal(first.flagged, ((label != truth) & ((label == 1) | (truth == 1)))[first.box])
        np.testing.assert_allclose(first.probability, np.where(truth == 1, 0.97, 0.015)[first.box], atol=0.005)
        assert not second.predicted.any()

    def test_what_is_not_annotated_says_nothing(self, examine):
        truth, label = np.zeros((2, 20, 20), np.uint8)
        truth[5:15, 5:15], label[5:15, 5:10], label[5:15, 10:15] = 1, 1, IGNORE
        (part,) = examine(label, truth).parts()
        np.testing.assert_array_equal(part.given, part.predicted)
        assert not part.flagged.any()
        assert (part.probability[label[part.box] == IGNORE] == 0.5).all()

    def test_nothing_to_see(self, examine):
        assert list(examine(np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8)).parts()) == []

    def test_of_another_drawing(self, examine):
        truth, label = np.zeros((2, 30, 30), np.uint8)
        truth[10:20, 10:20] = label[10:20, 10:18] = 1
        first = examine(label, truth)
        (part,) = first.of_other(truth).parts()
        np.testing.assert_array_equal(part.given, part.predicted)
        assert not part.flagged.any()
        np.testing.assert_array_equal(first.label, label)


@pytest.mark.parametrize("shape", [(70, 70, 70), (160, 160)])
@pytest.mark.parametrize("shift", [2, 4])
def test_usual_distance_of_a_shift(ball, shape, shift):
    middle = (shape[0] / 2 - 0.5,) * len(shape)
    radius = shape[0] // 3
    true, wide = ball(shape, middle, radius), ball(shape, middle, radius + shift)
    spacing = (2.0,) * len(shape)
    assert median_surface_distance(wide, true, spacing) == pytest.approx(2 * (shift - 0.5), abs=1.2)
    assert median_surface_distance(true, true, spacing) == pytest.approx(1.0)


def test_no_distance_without_two_surfaces(ball):
    mask, empty = ball((40, 40), (20, 20), 10), np.zeros((40, 40), dtype=bool)
    assert math.isnan(median_surface_distance(mask, empty, (1, 1)))
    assert math.isnan(median_surface_distance(empty, mask, (1, 1)))
