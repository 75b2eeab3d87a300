from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segmend.core.case import Case, Quality
from segmend.data.cache import PreparedCase
from segmend.engine import label_history as module
from segmend.engine.label_history import LabelHistory
from segmend.engine.label_store import LabelStore

IMAGE = np.zeros((1, 6, 1), np.float32)


def label_of(*values):
    return np.array(values, np.uint8)[:, None]


GIVEN = label_of(0, 0, 1, 1, 0, 0)
TRUTH = label_of(0, 1, 1, 1, 0, 0)
CASES = [
    PreparedCase(Case("001", (), None, quality=Quality.NOISY), IMAGE, GIVEN, None, "", (1.0, 1.0)),
    PreparedCase(Case("NA", (), None, quality=Quality.NONE), IMAGE, None, None, "", (1.0, 1.0)),
]


@pytest.fixture
def labels(tmp_path):
    return LabelStore(tmp_path / "labels", ("new",), {case.case.name: case.given for case in CASES}, (3, 8))


def history_of(labels, tmp_path, truth=None):
    return LabelHistory(tmp_path / "labels.csv", labels, CASES, 2, truth or {})


def rows_of(tmp_path):
    return pd.read_csv(tmp_path / "labels.csv", dtype={"case": str}, keep_default_na=False).astype(str).to_numpy()


def test_rows(labels, tmp_path):
    history = history_of(labels, tmp_path, {"001": TRUTH})
    history.update()
    labels.append("Some", [("001", "new", TRUTH), ("NA", "new", TRUTH)])
    labels.append("Some", [("001", "new", label_of(0, 0, 0, 0, 0, 0))])
    history.update()
    header = (tmp_path / "labels.csv").read_text().splitlines()[0]
    assert header == "step,revision,case,quality,layer,changed,changed_from_given,dice_to_given,dice_to_truth"
    assert [",".join(row) for row in rows_of(tmp_path)] == [
        "0,0,001,noisy,new,0,0,1.0,0.8",
        "0,0,NA,none,new,0,0,,",
        "3,1,001,noisy,new,1,1,0.8,1.0",
        "3,1,NA,none,new,6,6,,",
        "8,2,001,noisy,new,3,2,0.0,0.0",
        "8,2,NA,none,new,0,6,,",
    ]


def test_offsets_stand_beside_the_true_ones(labels, tmp_path):
    history = history_of(labels, tmp_path, {"001": TRUTH})
    history.update()
    assert not (tmp_path / "offsets.csv").exists()
    labels.append("Some", [("001", "new", TRUTH)], [{"case": "001", "label": 1, "offset_mm": 0.5}])
    history.update()
    (row,) = pd.read_csv(tmp_path / "offsets.csv", dtype={"case": str}).to_dict("records")
    assert (row["revision"], row["step"], row["case"], row["label"], row["offset_mm"]) == (1, 3, "001", 1, 0.5)
    assert 0 < row["true_mm"] < 1.5


def test_layers_that_hold_no_labels_are_left_out(labels, tmp_path):
    LabelHistory(tmp_path / "labels.csv", labels, CASES, 2, {}, []).update()
    assert not (tmp_path / "labels.csv").exists()


def test_a_resumed_run_writes_the_same_table(labels, tmp_path):
    history = history_of(labels, tmp_path)
    labels.append("Some", [("001", "new", TRUTH)])
    history.update()
    labels.append("Some", [("NA", "new", TRUTH)])
    history.update()
    whole = (tmp_path / "labels.csv").read_bytes()
    history_of(labels, tmp_path).update()
    assert (tmp_path / "labels.csv").read_bytes() == whole


def test_labels_that_stay_are_compared_once(labels, tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr(module, "mean_dice", lambda label, *_: compared.append(label) or 0.5)
    history = history_of(labels, tmp_path)
    labels.append("Some", [("001", "new", TRUTH)])
    history.update()
    labels.append("Some", [])
    history.update()
    assert len(compared) == 3
