from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.calibration import TEMPERATURES, Calibration, Sample, log_likelihoods, symmetrised_thresholds
from segmend.core.masks import IGNORE


def sample_at(temperature, seed=0, n=4000):
    """Voxels whose true probabilities are softmax(z), seen by a network that says softmax(z * temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (3, n))
    true = np.exp(logits) / np.exp(logits).sum(0)
    label = np.array([rng.choice(3, p=column) for column in true.T], np.uint8)
    said = np.exp(logits * temperature)
    return Sample((said / said.sum(0)).astype(np.float32), label)


class TestTemperature:
    def test_log_likelihoods_by_hand(self):
        sample = Sample(np.array([[0.8, 0.9, 0.4], [0.2, 0.1, 0.6]], np.float32), np.array([0, 0, 1], np.uint8))
        at_one = int(np.abs(TEMPERATURES - 1).argmin())
        half = (np.log(0.8) + np.log(0.9)) / 2  # class 0 has two voxels, which weigh as much as the one of class 1
        assert log_likelihoods(sample)[at_one] == pytest.approx((half + np.log(0.6)) / 2, abs=1e-6)
        hot = (np.log(0.8**0.125 / (0.8**0.125 + 0.2**0.125)) + np.log(0.9**0.125 / (0.9**0.125 + 0.1**0.125))) / 2
        expected = (hot + np.log(0.6**0.125 / (0.6**0.125 + 0.4**0.125))) / 2
        assert log_likelihoods(sample)[-1] == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
    def test_undoes_what_a_network_exaggerates(self, temperature):
        found = Calibration.of([sample_at(temperature, seed) for seed in range(3)], 3).temperature
        assert found == pytest.approx(temperature, rel=0.15)

    @pytest.mark.parametrize("wrong", [1, 3, 5])
    def test_wrong_labels_do_not_move_it_while_some_are_right(self, wrong):
        good = [sample_at(2.0, seed) for seed in range(8)]
        bad = [Sample(sample.probabilities, (sample.label + 1) % 3) for sample in good[:wrong]]
        clean, mixed = (Calibration.of(samples, 3).temperature for samples in (good, good[wrong:] + bad))
        assert Calibration.of(bad, 3).temperature == TEMPERATURES[-1]
        assert mixed == pytest.approx(clean, rel=0.2)

    def test_nothing_to_learn_from(self):
        empty = Sample(np.zeros((2, 0), np.float32), np.zeros(0, np.uint8))
        calibration = Calibration.of([empty], 2)
        assert calibration.temperature == 1
        assert np.isinf(calibration.thresholds).all()


def test_thresholds_are_evened_mean_calibrated_self_confidence():
    probabilities = np.array([[0.9, 0.7, 0.2, 0.4], [0.1, 0.3, 0.8, 0.6]], np.float32)
    label = np.array([0, 0, 1, 0], np.uint8)
    calibration = Calibration.of([Sample(probabilities, label)], 3)
    tempered = probabilities ** (1 / calibration.temperature)
    tempered /= tempered.sum(0)
    own = tempered[label, range(4)]
    middle = (own[[0, 1, 3]].mean() + own[2]) / 2
    assert calibration.thresholds[:2] == pytest.approx([middle, middle], abs=1e-5)
    assert calibration.thresholds[2] == np.inf


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.9, 0.7], [0.8, 0.8]),
        ([0.9, 0.7, 0.5], [0.75, 0.8, 0.7]),
        ([0.9, np.inf, 0.5], [0.7, np.inf, 0.7]),
        ([0.9, np.inf], [0.9, np.inf]),
        ([np.inf, np.inf], [np.inf, np.inf]),
    ],
)
def test_as_much_proof_for_too_much_as_for_too_little(given, expected):
    assert symmetrised_thresholds(np.array(given)).tolist() == pytest.approx(expected)


class TestSample:
    def test_takes_every_class_and_background_near_objects_only(self, make_evidence):
        label = np.zeros((60, 40), np.uint8)
        label[20:24, 20:24], label[24:26, 20:24], label[18, 20:24] = 1, 2, IGNORE
        evidence = make_evidence(label % IGNORE, 3, sure=0.9)
        sample = Sample.of(label, evidence, most=10_000)
        near = np.zeros_like(label, dtype=bool)
        near[10:36, 10:34] = True
        assert np.bincount(sample.label).tolist() == [int((near & (label == 0)).sum()), 16, 8]
        np.testing.assert_allclose(sample.probabilities[sample.label, range(len(sample.label))], 0.9, atol=0.01)

    def test_no_more_than_asked_for(self, make_evidence):
        label = np.zeros((30, 30), np.uint8)
        label[5:25, 5:25] = 1
        sample = Sample.of(label, make_evidence(label), most=50)
        assert 25 <= (sample.label == 0).sum() <= 50
        assert 25 <= (sample.label == 1).sum() <= 50

    def test_an_empty_label_says_nothing(self, make_evidence):
        label = np.zeros((8, 8), np.uint8)
        assert Sample.of(label, make_evidence(label), most=5).label.size == 0
