"""What the pages of instructions show works."""

from __future__ import annotations

import importlib
import re
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import segmend
from segmend.networks import UNet

pytestmark = pytest.mark.usefixtures("cpu_only")

PAGE = Path(__file__).parents[1] / "docs" / "how_to.md"


@pytest.fixture
def own_method(tmp_path, monkeypatch):
    """The class that the page shows."""
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_module.py").write_text(shown, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_module").Refining
    del sys.modules["my_module"]


def test_an_own_method_trains_and_leaves_labels_values_and_report(own_method, make_folder, tmp_path):
    root = make_folder(shape=(8, 8, 8), cases=("a", "b"))
    run = segmend.train(
        data=root,
        method=partial(own_method, confidence=0.0),
        network=partial(UNet, width=2, stages=2),
        patch=(8, 8, 8),
        iterations=3,
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    labels = pd.read_csv(run.path / "labels.csv")
    assert set(labels["layer"]) == {"refined"}
    assert labels["changed"].sum() > 0
    report = pd.read_csv(run.path / "refined.csv")
    assert list(report) == ["revision", "step", "case", "agreement", "voxels"]
    assert report["step"].tolist() == [1, 1, 2, 2]
    assert (report["voxels"] == 8**3).all()
    assert len(segmend.export_labels(run=run.path, out=tmp_path / "refined", cache=tmp_path / "cache")) == 2
