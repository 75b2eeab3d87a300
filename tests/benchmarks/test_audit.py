"""The measures of ``benchmarks/audit`` on cases that can be worked out by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from segmend.data.folder import DataFolder

_FOLDER = Path(__file__).parents[2] / "benchmarks" / "audit"


@pytest.fixture(scope="module")
def detect() -> dict[str, Any]:
    return runpy.run_path(str(_FOLDER / "detect.py"))


@pytest.fixture(scope="module")
def corrections() -> dict[str, Any]:
    return runpy.run_path(str(_FOLDER / "corrections.py"))


def test_a_perfect_ranking(detect):
    score, bad = np.array([0.1, 0.9, 0.2, 0.8]), np.array([True, False, True, False])
    assert detect["auroc"](score, bad) == detect["precision"](score, bad) == 1
    assert detect["auroc"](-score, bad) == 0
    assert detect["precision"](-score, bad) == pytest.approx((1 / 3 + 2 / 4) / 2)


@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(
            arrays(np.float64, n, elements=st.floats(0, 1), unique=True),
            arrays(np.bool_, n).filter(lambda bad: 0 < bad.sum() < len(bad)),
        )
    )
)
def test_rankings_are_measured_as_everywhere(detect, ranking):
    score, bad = ranking
    assert detect["auroc"](score, bad) == pytest.approx(roc_auc_score(bad, -score))
    assert detect["precision"](score, bad) == pytest.approx(average_precision_score(bad, -score))


def test_effect_of_corrections(corrections, tmp_path, write_scan):
    true = np.zeros((8, 8, 4), np.uint8)
    true[2:6, 2:6, 1:3] = 1  # 32 voxels
    half = true.copy()
    half[2:4] = 0  # Dice 2/3
    data, corrected, truth = (tmp_path / name for name in ("data", "corrected", "truth"))
    drawn = {"better": (half, true), "worse": (true, half), "same": (half, half)}
    for folder in (data / "imagesTr", data / "labelsTr", corrected, truth):
        folder.mkdir(parents=True)
    description = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (data / "dataset.json").write_text(json.dumps({**description, "numTraining": 3}))
    for case, (given_label, corrected_label) in drawn.items():
        write_scan(data / "imagesTr" / f"{case}_0000.nii.gz", given_label, np.eye(4))
        write_scan(data / "labelsTr" / f"{case}.nii.gz", given_label, np.eye(4))
        write_scan(corrected / f"{case}.nii.gz", corrected_label, np.eye(4))
        write_scan(truth / f"{case}.nii.gz", true, np.eye(4))
    table = corrections["compared"](DataFolder.open(data), corrected, truth)
    assert table.set_index("case").loc["better", ["given", "corrected"]].tolist() == pytest.approx([2 / 3, 1])
    assert table.set_index("case")["changed_voxels"].to_dict() == {"better": 16, "worse": 16, "same": 0}
    lines = corrections["summary"](table, 0.02).splitlines()
    assert lines[0] == "3 labels, 2 of them changed"
    assert lines[2:] == ["error removed: 0.0 %", "degraded by more than 2 points of Dice: 1 (33.3 %)"]


def test_unchanged_labels_are_not_degraded(corrections):
    table = pd.DataFrame({"given": [0.5, 0.9], "corrected": [0.5, 0.9], "changed_voxels": [0, 0]})
    assert corrections["summary"](table, 0.02).endswith("degraded by more than 2 points of Dice: 0 (0.0 %)")
