"""Audit of overlapping regions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from segmend.audit.by_region import RegionEvidence, proposal_view, region_view
from segmend.cli import main
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.engine.evidence import Evidence, write_evidence


def test_a_region_is_one_object_against_all_else(tmp_path):
    maps = np.array([[[0.7, 0.1]], [[0.2, 0.3]], [[0.1, 0.6]]], np.float32)
    write_evidence(tmp_path / "case.npz", maps)
    evidence = RegionEvidence(tmp_path / "case.npz", Evidence(tmp_path / "case.npz"), (1, 2))
    assert evidence.classes == 2
    np.testing.assert_allclose(evidence.probability(1), [[0.3, 0.9]], atol=0.02)
    np.testing.assert_allclose(evidence.probability(0), [[0.7, 0.1]], atol=0.02)
    assert evidence.probability(1).max() < 1


@pytest.fixture
def data(make_folder):
    """Five cases of a core inside a whole; of the last, the whole is far too large."""
    cases = [f"case_{number}" for number in range(1, 6)]
    root = make_folder(cases=cases, labels={"background": 0, "a": 1, "b": 2}, shape=(24, 24, 12))
    description = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(
        json.dumps(description | {"labels": {"background": 0, "whole": [1, 2], "core": 2}})
    )
    return root


def test_a_view_has_one_class(data):
    view = region_view(DataFolder.open(data), "whole")
    assert view.labels == {"background": 0, "whole": 1}
    assert view.to_indices(np.array([0, 1, 2])).tolist() == [0, 1, 1]


def test_regions_are_audited_and_corrected(data, tmp_path):
    folder = DataFolder.open(data)
    given = tmp_path / "probabilities"
    given.mkdir()
    for case in folder.cases:
        label, _ = read_label(case.label)
        maps = np.stack([np.where(label == index, 0.96, 0.02) for index in range(3)]).astype(np.float32)
        np.savez_compressed(given / f"{case.name}.npz", probabilities=maps.transpose(0, 3, 2, 1))
    bad = folder.cases[-1].label
    label, _ = read_label(bad)
    wrong = label.copy()
    wrong[:6, :6, :5] = np.where(label[:6, :6, :5] == 0, 1, label[:6, :6, :5])
    write_label(bad, wrong, like=bad)

    out = tmp_path / "audit"
    assert main(["audit", "--data", str(data), "--probabilities", str(given), "--out", str(out)]) == 0
    table = pd.read_csv(out / "audit.csv")
    assert sorted(set(table["label"])) == ["core", "whole"]
    assert len(table) == 10
    assert table.iloc[0][["case", "label"]].tolist() == ["case_5", "whole"]
    assert (out / "report.html").is_file()
    proposal, _ = read_label(out / "proposals" / "whole" / "case_5.nii.gz")
    assert set(np.unique(proposal)) <= {0, 1}

    decisions = tmp_path / "decisions.csv"
    decisions.write_text("case,label,decision\ncase_5,whole,accept\n")
    words = ["correct", "--data", str(data), "--audit", str(out), "--out", str(tmp_path / "corrected")]
    assert main([*words, "--decisions", str(decisions)]) == 0
    corrected, _ = read_label(tmp_path / "corrected" / "labelsTr" / "case_5.nii.gz")
    assert (corrected != label).sum() < 0.2 * (wrong != label).sum()
    assert ((corrected == 2) == (label == 2)).all()
    rows = pd.read_csv(tmp_path / "corrected" / "corrections.csv")
    assert rows[["case", "label"]].values.tolist() == [["case_5", "whole"]]


def test_a_proposal_is_a_mask_whatever_the_values_of_the_region(data):
    folder = DataFolder.open(data)
    assert region_view(folder, "core").to_indices(np.array([0, 1, 2])).tolist() == [0, 0, 1]
    assert proposal_view(folder, "core").to_indices(np.array([0, 1])).tolist() == [0, 1]
