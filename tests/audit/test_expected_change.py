from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hand_made_audits import hand_made_audit
from refusals import raises

from segmend.audit.expected_change import ChangeEstimator, ExpectedChange
from segmend.audit.folder import AuditFolder
from segmend.cli import main
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label
from segmend.data.raters import read_drawing


@pytest.fixture
def estimate(make_folder, tmp_path, write_scan):
    """A 2D label of 4 voxels in 10 x 10, and probabilities of 0.9 for another one of 6."""
    data = make_folder(cases=("a",), shape=(10, 10), affine=np.eye(4))
    given = np.zeros((10, 10), np.uint8)
    given[4:6, 4:6] = 1
    write_scan(data / "labelsTr/a.nii.gz", given)
    proposed = given.copy()
    proposed[4:6, 6] = 1
    place = hand_made_audit(data, tmp_path / "audit", {"a": proposed})
    return ChangeEstimator(DataFolder.open(data), place), given, proposed


def test_expected_dice_by_hand(estimate):
    estimator, given, proposed = estimate
    found = estimator.estimate("a", given, proposed, ["organ"])["organ"]
    total = 6 * 0.9 + 94 * 0.1  # all lies within ten voxels of the object
    assert found.before == pytest.approx((2 * 4 * 0.9 + 2) / (4 + total + 2), abs=0.01)
    assert found.after == pytest.approx((2 * 6 * 0.9 + 2) / (6 + total + 2), abs=0.01)
    assert found.gain > 0
    reverse = estimator.estimate("a", proposed, given, ["organ"])["organ"]
    assert reverse.gain == pytest.approx(-found.gain, abs=1e-6)


def test_ignored_voxels_count_no_longer(estimate):
    estimator, given, proposed = estimate
    ignored = np.where(given != proposed, np.uint8(255), given)
    found = estimator.estimate("a", given, ignored, ["organ"])["organ"]
    total = 4 * 0.9 + 94 * 0.1
    assert found.after == pytest.approx((2 * 4 * 0.9 + 2) / (4 + total + 2), abs=0.01)


def test_what_lies_far_from_label_and_prediction_counts(make_folder, tmp_path, write_scan):
    data = make_folder(cases=("a",), shape=(60, 4), affine=np.eye(4))
    given = np.zeros((60, 4), np.uint8)
    given[:2] = 1
    write_scan(data / "labelsTr/a.nii.gz", given)
    place = hand_made_audit(data, tmp_path / "audit", {}, sure=0.99)
    new = given.copy()
    new[50:52] = 1  # as a person may draw it
    found = ChangeEstimator(DataFolder.open(data), place).estimate("a", given, new, ["organ"])["organ"]
    total = 8 * 0.99 + 40 * 0.01  # ten slices more than the object has
    assert found.before == pytest.approx((2 * 8 * 0.99 + 2) / (8 + total + 2), abs=0.01)
    assert found.after == pytest.approx((2 * (8 * 0.99 + 8 * 0.01) + 2) / (16 + total + 8 * 0.01 + 2), abs=0.01)


def test_the_numbers_are_those_of_the_audit(make_folder, tmp_path):
    """After a proposal is followed, it is what 'proposal_score' was made of; before, it is no more than stated."""
    data = make_folder(cases=[f"case_{number}" for number in range(6)], shape=(24, 24, 12))
    folder, given = DataFolder.open(data), tmp_path / "probabilities"
    given.mkdir()
    for case in folder.cases:
        label, _ = read_label(case.label)
        organ = np.where(label == 1, 0.93, 0.04)
        np.savez_compressed(
            given / f"{case.name}.npz", probabilities=np.stack([1 - organ, organ]).transpose(0, 3, 2, 1)
        )
    main(["corrupt", "--data", str(data), "--out", str(tmp_path / "noisy"), "--share", "0.5", "--recipe.side_max", "5"])
    out, data = tmp_path / "audit", tmp_path / "noisy"
    assert main(["audit", "--data", str(data), "--probabilities", str(given), "--out", str(out)]) == 0
    folder, place = DataFolder.open(data), AuditFolder(out)
    table, estimator = place.read_labels(), ChangeEstimator(folder, place)
    proposed = table[table["proposal"] != "none"]
    assert len(proposed) > 0
    for row in proposed.itertuples():
        (case,) = (case for case in folder.cases if case.name == row.case)
        before, after = (
            read_drawing(file, folder, read_grid(case.label))
            for file in (case.label, place.proposal(row.case, ".nii.gz"))
        )
        found = estimator.estimate(row.case, before, after, [row.label])[row.label]
        assert found.before <= row.expected_dice
        assert found.after == pytest.approx(row.proposal_score / (1 - row.score), abs=1e-5)


def test_values_that_the_audit_states_come_first():
    change = ExpectedChange(0.5, 0.7)
    assert change.from_table(None) == change
    assert change.from_table(0.5) == ExpectedChange(0.5, pytest.approx(0.7))
    assert change.from_table(0.6) == ExpectedChange(0.6, pytest.approx(0.76))  # the error times 0.3 / 0.5
    assert change.from_table(0.0) == ExpectedChange(0.0, pytest.approx(0.4))
    assert ExpectedChange(0.9, 0.1).from_table(0.5) == ExpectedChange(0.5, 0.0)
    assert ExpectedChange(1.0, 0.4).from_table(1.0) == ExpectedChange(1.0, 0.4)
    assert change.from_table(0.6, 0.65) == ExpectedChange(0.6, 0.65)


def test_without_evidence_nothing_is_known(estimate, caplog):
    estimator, given, proposed = estimate
    assert estimator.estimate("b", given, proposed, ["organ"]) == {}
    estimator.report_unknown()
    assert "expected Dice of 1 changed cases is not known" in caplog.text


def test_a_damaged_summary(make_folder, tmp_path):
    data, place = make_folder(), AuditFolder(tmp_path)
    place.summary.write_text(json.dumps([]))
    with raises("damaged", "audit.json"):
        ChangeEstimator(DataFolder.open(data), place)


def test_regions_overlap(make_folder, tmp_path):
    data = make_folder(cases=("a",), labels={"background": 0, "a": 1, "b": 2}, shape=(24, 24, 12))
    description = json.loads((data / "dataset.json").read_text())
    description["labels"] = {"background": 0, "whole": [1, 2], "core": 2}
    (data / "dataset.json").write_text(json.dumps(description))
    folder = DataFolder.open(data)
    given = folder.to_indices(read_label(folder.cases[0].label)[0])
    place = hand_made_audit(data, tmp_path / "audit", {})
    without = np.where(given == 2, np.uint8(1), given)
    found = ChangeEstimator(folder, place).estimate("a", given, without, ["whole", "core"])
    assert found["whole"].gain == 0
    assert found["core"].gain < -0.1
    assert pd.notna(found["core"].before)
