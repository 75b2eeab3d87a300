"""The simulation of ``benchmarks/select`` on labels that can be worked out by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segmend.audit.folder import AuditFolder
from segmend.data.folder import DataFolder
from segmend.data.image import read_image


@pytest.fixture(scope="module")
def simulate():
    return runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "select" / "simulate.py"))


def rows(true, expected):
    names = [f"c{number}" for number in range(len(true))]
    table = pd.DataFrame({"case": names, "label": "organ", "true": true, "expected_dice": expected})
    return table.assign(dice_to_prediction=[0.9, 0.5, 0.7, 0.8], kind="ok", annotator="")


def test_checked_cases_become_true(simulate, monkeypatch, tmp_path):
    truth = rows([1.0, 0.4, 0.8, 0.6], [0.9, 0.7, 0.8, 0.2])
    order = {"gain": ["c3", "c1", "c2", "c0"]}
    monkeypatch.setitem(simulate["choose"].__globals__, "by_gain", lambda *_: order)
    table = simulate["choose"](None, AuditFolder(tmp_path), truth, 0)
    means = table.groupby("rule")["mean_dice"].apply(list)
    assert means["gain"] == pytest.approx([0.7, 0.8, 0.95, 1.0, 1.0])
    assert means["Dice to the prediction"] == pytest.approx([0.7, 0.85, 0.9, 1.0, 1.0])
    assert means["random"] == pytest.approx([0.7, 0.775, 0.85, 0.925, 1.0], abs=0.02)


def test_estimates_are_unbiased(simulate):
    random = np.random.default_rng(0)
    true = random.uniform(0.5, 1, 60)
    names = [f"c{number}" for number in range(60)]
    truth = pd.DataFrame({"case": names, "label": "organ", "true": true, "expected_dice": true})
    table = simulate["estimate"](truth, 0.8, 200, 0)
    assert set(table["sample"]) == {"stratified, Neyman", "stratified, proportional", "random"}
    assert table["true_fraction"].to_numpy() == pytest.approx((true < 0.8).mean())
    assert table["mean_estimate"].to_numpy() == pytest.approx((true < 0.8).mean(), abs=0.03)
    assert (table["coverage"] > 0.9).all()


def test_the_simulated_model_knows_the_truth_but_not_exactly(simulate, make_folder, tmp_path):
    root = make_folder(cases=("a", "b"), labels={"background": 0, "organ": 1, "vessel": 2})
    folder = DataFolder.open(root)
    simulate["judge"](folder, tmp_path / "judge", 0)
    maps = {name: read_image(tmp_path / "judge" / f"a_{name}.nii.gz")[0][0] for name in folder.labels}
    np.testing.assert_allclose(sum(maps.values()), 1, atol=1e-5)
    organ = simulate["truth_of"](folder, "a") == 1
    assert maps["organ"][organ].mean() > maps["organ"][~organ].mean() + 0.3
    assert maps["organ"][organ].std() > 0.02
