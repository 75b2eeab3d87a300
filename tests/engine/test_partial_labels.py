"""Training, revising, validating and auditing with cases that are annotated in part, and with regions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from tests.support.refusals import raises

from segmend.cli import main
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.engine.run import Run

pytestmark = pytest.mark.usefixtures("cpu_only")

LABELS = {"background": 0, "liver": 1, "spleen": 2}
TINY = (
    *("--network", "UNet", "--network.width", "4", "--network.stages", "2", "--patch", "8", "8", "8"),
    *("--spacing", "2", "2", "2", "--checkpoint_every", "2"),
)


def only(root, case, keep) -> None:
    """Removes all other classes from a label."""
    path = root / "labelsTr" / f"{case}.nii.gz"
    label, _ = read_label(path)
    write_label(path, np.where(label == keep, label, 0), like=path)


@pytest.fixture
def partial(make_folder):
    """Two cases with one class each, and a complete one."""
    table = "case,split,quality,annotated\ncase_1,train,noisy,liver\ncase_2,train,noisy,spleen\ncase_3,val,expert,\n"
    root = make_folder(labels=LABELS, table=table)
    only(root, "case_1", 1)
    only(root, "case_2", 2)
    return root


def train(root, out, *arguments) -> Run:
    words = ["train", "--data", str(root), "--out", str(out), "--cache", str(out.parent / "cache")]
    assert main([*words, *TINY, *map(str, arguments)]) == 0
    return Run(out)


def test_plain_training_takes_partial_labels_as_they_are(partial, tmp_path):
    run = train(partial, tmp_path / "run", "--method", "Supervised", "--iterations", 4)
    assert run.finished
    assert not run.initial_labels.exists()


def test_other_methods_start_from_completed_labels(partial, tmp_path):
    run = train(
        *(partial, tmp_path / "run", "--method", "OffsetCorrection", "--iterations", 4, "--initial_iterations", 4)
    )
    assert sorted(path.name for path in run.initial_labels.iterdir()) == ["case_1.nii.gz", "case_2.nii.gz"]
    for case, annotated, other in (("case_1", 1, 2), ("case_2", 2, 1)):
        given, _ = read_label(partial / "labelsTr" / f"{case}.nii.gz")
        whole, _ = read_label(run.initial_labels / f"{case}.nii.gz")
        assert ((whole == annotated) == (given == annotated)).all()
        assert set(np.unique(whole)) <= {0, annotated, other}


def test_scores_are_of_annotated_classes(partial, tmp_path):
    run = train(partial, tmp_path / "run", "--method", "Supervised", "--iterations", 2)
    table = run.evaluate(partial, split="train")
    assert table[["case", "label"]].values.tolist() == [["case_1", "liver"], ["case_2", "spleen"]]


def test_an_audit_judges_what_was_annotated(partial, tmp_path):
    out = tmp_path / "audit"
    words = ["audit", "--data", str(partial), "--out", str(out), "--folds", "2", "--iterations", "2"]
    assert main([*words, "--cache", str(tmp_path / "cache"), *TINY]) == 0
    table = pd.read_csv(out / "audit.csv")
    assert set(map(tuple, table[["case", "label"]].values)) == {("case_1", "liver"), ("case_2", "spleen")}
    for case, other in (("case_1", 2), ("case_2", 1)):
        proposal, _ = read_label(out / "proposals" / f"{case}.nii.gz")
        assert not (proposal == other).any()


REGIONS = {"background": 0, "organ": [1, 2], "core": 2}


@pytest.fixture
def regions(make_folder):
    root = make_folder(labels=LABELS, test_cases=("case_9",))
    description = json.loads((root / "dataset.json").read_text()) | {"labels": REGIONS, "regions_class_order": [1, 2]}
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def test_a_run_on_regions_is_scored_by_region(regions, tmp_path):
    run = train(regions, tmp_path / "run", "--method", "Supervised", "--iterations", 3)
    assert run.task.objects == {"organ": (1, 2), "core": (2,)}
    assert Run(tmp_path / "run").task == run.task
    assert run.evaluate(regions)["label"].tolist() == ["organ", "core"]
    assert (
        main(["predict", "--run", str(run.path), "--images", str(regions / "imagesTs"), "--out", str(tmp_path / "p")])
        == 0
    )
    predicted, _ = read_label(tmp_path / "p" / "case_9.nii.gz")
    assert set(np.unique(predicted)) <= {0, 1, 2}
    words = ["evaluate", "--predictions", str(tmp_path / "p"), "--references", str(regions / "labelsTs")]
    assert main([*words, "--out", str(tmp_path / "scores.csv")]) == 0
    assert sorted(pd.read_csv(tmp_path / "scores.csv")["label"]) == ["core", "organ"]


def test_a_run_on_regions_refuses_data_of_other_regions(regions, tmp_path, make_folder):
    run = train(regions, tmp_path / "run", "--method", "Supervised", "--iterations", 2)
    run.check_data_folder(DataFolder.open(regions))
    root = make_folder("other", labels={"background": 0, "organ only": 1, "core + organ": 2})
    with raises("mismatch", root):
        run.check_data_folder(DataFolder.open(root))


def test_completed_classes_do_not_count_for_their_annotator(make_folder, tmp_path):
    """They agree with the prediction that completed them, which says nothing of who drew the rest."""
    table = "case,annotator,annotated\ncase_1,ann,liver\ncase_2,ann,spleen\n"
    root = make_folder(cases=("case_1", "case_2"), labels=LABELS, table=table)
    given = tmp_path / "probabilities"
    given.mkdir()
    for case, keep in (("case_1", 1), ("case_2", 2)):
        label, _ = read_label(root / "labelsTr" / f"{case}.nii.gz")
        maps = np.stack([np.where(label == index, 0.96, 0.02) for index in range(3)]).astype(np.float32)
        np.savez_compressed(given / f"{case}.npz", probabilities=maps.transpose(0, 3, 2, 1))
        only(root, case, keep)
    out = tmp_path / "audit"
    assert main(["audit", "--data", str(root), "--probabilities", str(given), "--out", str(out)]) == 0
    annotators = pd.read_csv(out / "annotators.csv")
    assert annotators[["annotator", "label", "cases"]].values.tolist() == [["ann", "liver", 1], ["ann", "spleen", 1]]
