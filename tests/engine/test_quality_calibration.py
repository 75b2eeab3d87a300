"""The calibration of the expected Dice; tests/commands/test_train_folds.py has it in a cross-validation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from refusals import raises

from segmend.engine.evidence import decode, encode
from segmend.engine.quality_calibration import (
    FEWEST,
    LEAST,
    Calibration,
    Outcome,
    calibrated_class,
    choose_temperature,
    write_calibration,
)
from segmend.functional.expected_dice import expected_dice, tempered_map


def outcomes_at(temperature, count=12, folds=2):
    """Predictions whose true Dice is what probabilities say at a temperature."""
    found = []
    for number in range(count):
        probability = np.random.default_rng(number).beta(0.5, 0.7, 4000).astype(np.float32)
        mask = probability > 0.5
        stored = decode(encode(probability))
        tempered = tempered_map(stored, temperature, LEAST).astype(float)
        dice = expected_dice(mask.sum(), tempered[mask].sum(), tempered.sum())
        found.append(Outcome.of(1 + number % folds, mask, probability, dice))
    return found


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(temperature):
    assert choose_temperature(outcomes_at(temperature)) == pytest.approx(temperature, rel=1e-3)


def test_expected_dice_from_counts_by_hand():
    """A mask of two voxels with 0.8 and 0.5; outside lies 0.2. At T = 2 they are 2/3, 1/2 and 1/3."""
    outcome = Outcome.of(1, np.array([True, True, False, False]), np.array([0.8, 0.5, 0.2, 0.0], np.float32), 0.9)
    assert outcome.voxels == 2
    assert outcome.expected(1.0) == pytest.approx(2 * 1.3 / (2 + 1.5), rel=0.01)
    assert outcome.expected(2.0) == pytest.approx(2 * (7 / 6) / (2 + 1.5), rel=0.01)


def test_only_annotated_voxels_count():
    known = np.array([True, False, True, False])
    outcome = Outcome.of(1, np.array([True, True, False, False]), np.full(4, 0.5, np.float32), 1.0, known)
    assert (outcome.voxels, outcome.within.sum(), outcome.total.sum()) == (1, 1, 2)


def test_errors_before_and_after():
    entry = calibrated_class(outcomes_at(0.3))
    assert entry["predictions"] == 12
    assert entry["error_before"] > 0.1
    assert entry["error_after"] < 1e-3
    assert entry["correlation_after"] > 0.99


def test_after_is_left_out_if_all_are_of_one_fold():
    assert "error_after" not in calibrated_class(outcomes_at(0.3, folds=1))


def test_too_few_predictions():
    assert calibrated_class(outcomes_at(0.3, FEWEST - 1)) == {"temperature": None, "predictions": FEWEST - 1}
    assert calibrated_class([])["temperature"] is None


class TestFile:
    @pytest.fixture
    def file(self, tmp_path):
        outcomes = {"organ": outcomes_at(0.5), "vessel": outcomes_at(0.5, 2)}
        write_calibration(tmp_path / "calibration.json", "x", ["organ", "vessel"], lambda: outcomes)
        return tmp_path / "calibration.json"

    def test_is_read_again(self, file):
        calibration = Calibration.read(file)
        assert calibration.temperatures == {"organ": pytest.approx(0.5, rel=1e-3)}
        assert calibration.note("organ") == "calibrated on 12 out-of-fold predictions"
        assert calibration.note("vessel").startswith("not calibrated: there are fewer than 5")
        probability = np.array([0.8], np.float32)
        assert calibration.apply("organ", probability)[0] == pytest.approx(16 / 17, rel=1e-3)
        assert calibration.apply("vessel", probability) is probability

    def test_is_written_once_for_the_same_predictions(self, file):
        before = file.read_bytes()
        write_calibration(file, "x", ["organ", "vessel"], lambda: pytest.fail("is computed again"))
        assert file.read_bytes() == before
        write_calibration(file, "y", ["organ", "vessel"], lambda: {"organ": outcomes_at(2.0)})
        assert Calibration.read(file).temperatures["organ"] == pytest.approx(2, rel=1e-3)

    @pytest.mark.parametrize(
        "content",
        ["[", "{}", '{"classes": {"organ": {}}}', '{"classes": {"organ": {"temperature": -1, "predictions": 9}}}'],
    )
    def test_a_damaged_one(self, file, content):
        file.write_text(content)
        with raises("damaged", file):
            Calibration.read(file)
        write_calibration(file, "x", ["organ"], lambda: {"organ": outcomes_at(0.5)})
        assert json.loads(file.read_text())["classes"]["organ"]["predictions"] == 12


def test_without_any():
    assert Calibration().note("organ") == "not calibrated: a single run has no out-of-fold predictions"
