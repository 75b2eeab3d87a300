from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from segmend.core.case import Case, Quality
from segmend.data.cache import PreparedCase
from segmend.engine import label_history as module
from segmend.engine.label_history import LabelHistory
from segmend.engine.label_store import LabelStore
from segmend.methods import Revision

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


def history_of(labels, tmp_path, truth=None, report=""):
    return LabelHistory(tmp_path / "labels.csv", labels, CASES, {"organ": (1,)}, truth or {}, report)


def new(case, label):
    """A revision of one label."""
    return Revision(case, {"new": torch.tensor(label)})


def rows_of(tmp_path):
    return pd.read_csv(tmp_path / "labels.csv", dtype={"case": str}, keep_default_na=False).astype(str).to_numpy()


def test_rows(labels, tmp_path):
    history = history_of(labels, tmp_path, {"001": TRUTH})
    history.update()
    labels.append("Some", [new("001", TRUTH), new("NA", TRUTH)])
    labels.append("Some", [new("001", label_of(0, 0, 0, 0, 0, 0))])
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
    history = history_of(labels, tmp_path, {"001": TRUTH}, "offsets.csv")
    history.update()
    assert not (tmp_path / "offsets.csv").exists()
    labels.append(
        "Some",
        [
            Revision("001", report=[{"label": 1, "offset_mm": 0.5}]),
            Revision("NA", report=[{"label": 1, "offset_mm": 1}]),
        ],
    )
    history.update()
    row, other = pd.read_csv(tmp_path / "offsets.csv", dtype={"case": str}, na_filter=False).to_dict("records")
    assert (row["revision"], row["step"], row["case"], row["label"], row["offset_mm"]) == (1, 3, "001", 1, 0.5)
    assert 0 < float(row["true_mm"]) < 1.5
    assert other["true_mm"] == "", "the truth is not known"


def test_other_reports_have_the_columns_of_the_method(labels, tmp_path):
    labels.append("Some", [Revision("001", report=[{"why": "so", "how": 2}, {"why": "thus", "how": 3}])])
    history_of(labels, tmp_path, {"001": TRUTH}, "why.csv").update()
    assert (tmp_path / "why.csv").read_text().splitlines() == [
        "revision,step,case,why,how",
        "1,3,001,so,2",
        "1,3,001,thus,3",
    ]


def test_without_a_file_for_it_a_report_stays_in_the_record(labels, tmp_path):
    labels.append("Some", [Revision("001", report=[{"why": "so"}])])
    history_of(labels, tmp_path).update()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "labels.csv"]


def test_maps_and_values_are_no_labels(tmp_path):
    given = {case.case.name: case.given for case in CASES}
    labels = LabelStore(tmp_path / "labels", (), given, (3,), maps=("regions",), values=("chance",))
    labels.append("Some", [Revision("001", maps={"regions": torch.tensor(GIVEN)}, values={"chance": 1.0})])
    history_of(labels, tmp_path).update()
    assert not (tmp_path / "labels.csv").exists()


def test_a_resumed_run_writes_the_same_table(labels, tmp_path):
    history = history_of(labels, tmp_path)
    labels.append("Some", [new("001", TRUTH)])
    history.update()
    labels.append("Some", [new("NA", TRUTH)])
    history.update()
    whole = (tmp_path / "labels.csv").read_bytes()
    history_of(labels, tmp_path).update()
    assert (tmp_path / "labels.csv").read_bytes() == whole


def test_labels_that_stay_are_compared_once(labels, tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr(module, "mean_dice", lambda label, *_: compared.append(label) or 0.5)
    history = history_of(labels, tmp_path)
    labels.append("Some", [new("001", TRUTH)])
    history.update()
    labels.append("Some", [])
    history.update()
    assert len(compared) == 3
