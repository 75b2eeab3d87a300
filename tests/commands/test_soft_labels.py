"""Soft labels through the commands that write and read them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from refusals import raises

import segmend
from segmend.audit.folder import AuditFolder
from segmend.cli import main
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_image, read_label, write_label
from segmend.engine.evidence import write_evidence

pytestmark = pytest.mark.usefixtures("cpu_only", "own_cache")

STEPS = ("--iterations", "2", "--any_labelled", "1")
NETWORK = ("--network", "UNet", "--network.width", "2", "--network.stages", "2")


def call(name, *words, status=0):
    assert main([name, *map(str, words)]) == status


@pytest.fixture(params=[(20, 18, 16), (24, 20)], ids=["3D", "2D"])
def fused(request, make_folder, tmp_path):
    """Three raters of two cases, fused."""
    ending = ".nii.gz" if len(request.param) == 3 else ".png"
    affine = {} if len(request.param) == 3 else {"affine": np.eye(4)}
    data = make_folder(cases=("a", "b"), raters=("ann", "ben"), shape=request.param, ending=ending, **affine)
    call("fuse", "--data", data, "--out", tmp_path / "fused", "--soft", "true")
    return tmp_path / "fused"


def test_fuse_train_predict_and_evaluate(fused, tmp_path, contents):
    before = contents(fused)
    train = ("train", "--data", fused, "--labels", "soft", *NETWORK, *STEPS)
    call(*train, "--out", tmp_path / "run", "--patch", *["8"] * dimensions_of(fused))
    call(
        "predict", "--run", tmp_path / "run", "--images", fused / "imagesTr", "--out", tmp_path / "p", "--probabilities"
    )
    evaluate = ("evaluate", "--predictions", tmp_path / "p", "--soft", "true", "--out", tmp_path / "s.csv")
    call(*evaluate, "--references", fused / "soft")
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table["case"]) == ["a", "b"]
    assert list(table["label"]) == ["organ", "organ"]
    assert table["threshold_dice"].between(0, 1).all()
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["labels"]["organ"]["brier"] == pytest.approx(table["brier"].mean(), rel=1e-4)
    assert contents(fused) == before
    # What predict writes is what train reads.
    again = tmp_path / "again"
    shutil.copytree(fused, again)
    shutil.rmtree(again / "soft")
    shutil.copytree(tmp_path / "p" / "probabilities", again / "soft")
    call("train", "--data", again, "--labels", "soft", *NETWORK, *STEPS, "--out", tmp_path / "run2")


def test_references_score_perfectly_against_themselves(fused, tmp_path):
    predictions = tmp_path / "p"
    shutil.copytree(fused / "labelsTr", predictions)
    shutil.copytree(fused / "soft", predictions / "probabilities")
    table = segmend.evaluate(predictions, fused / "soft", tmp_path / "s.csv", soft=True)
    assert (table["threshold_dice"] == 1).all()
    assert not table[["calibration_error", "brier"]].to_numpy().any()
    (predictions / "probabilities" / "a_organ.nii.gz").unlink()
    with raises("missing-file", "a_organ.nii.gz"):
        segmend.evaluate(predictions, fused / "soft", tmp_path / "s.csv", soft=True)
    next(predictions.glob("a.*")).unlink()
    with raises("missing-file", predictions, match="holds no prediction for a_organ"):
        segmend.evaluate(predictions, fused / "soft", tmp_path / "s.csv", soft=True)
    with raises("unsupported", "against"):
        segmend.evaluate(predictions, fused / "soft", tmp_path / "s.csv", soft=True, against=tmp_path / "o.csv")
    with raises("missing-file", "probabilities"):
        segmend.evaluate(fused / "labelsTr", fused / "soft", tmp_path / "s.csv", soft=True)


def test_the_default_method_is_one_that_learns_from_them(fused, tmp_path):
    run = segmend.train(fused, tmp_path / "run", labels="soft", iterations=1, width=2, any_labelled=1)
    assert run.method_class.__name__ == "Supervised"
    assert run.data_state.cases["a"]["soft"]
    (fused / "soft" / "a_organ.nii.gz").write_bytes((fused / "soft" / "b_organ.nii.gz").read_bytes())
    with raises("changed-data", match="the soft label of case a has changed"):
        segmend.train(fused, tmp_path / "run", labels="soft", iterations=1, width=2, any_labelled=1)


def test_other_methods_say_that_they_learn_from_class_labels(fused, tmp_path, capsys):
    train = ("train", "--data", fused, "--labels", "soft", "--out", tmp_path / "run", *NETWORK, *STEPS)
    call(*train, "--method", "CoTeaching", status=1)
    assert "--labels: is soft, but CoTeaching learns from class labels only" in capsys.readouterr().err
    call(*train, "--method", "Supervised", "--method.loss", "gce", status=1)
    assert not (tmp_path / "run").exists()


def test_corrected_voxels_have_the_probabilities_of_the_audit(make_folder, tmp_path):
    data = make_folder(cases=("a", "b"))
    folder, place = DataFolder.open(data), AuditFolder(tmp_path / "audit")
    rows, digests = [], {}
    for case in folder.cases:
        given = folder.to_indices(read_label(case.label)[0])
        given[10, 0, 8] = 1  # so that the proposal extends an object; a new one would need a person
        write_label(case.label, folder.to_values(given), like=case.label)
        proposed = given.copy()
        proposed[:, :2] = 1
        write_label(place.proposal(case.name, ".nii.gz"), folder.to_values(proposed), like=case.label)
        write_evidence(place.evidence(case.name), [np.full(given.shape, 0.2), np.full(given.shape, 0.8)])
        row = {"case": case.name, "label": "organ", "score": 0.2, "kind": "extra", "quality": "noisy"}
        rows.append({**row, "proposal": "regions", "proposal_score": 0.9 if case.name == "a" else 0.1})
        digests[case.name] = digest_of(case.label)
    pd.DataFrame(rows).to_csv(place.labels, index=False)
    place.settings.write_text(json.dumps({"labels": digests}))
    place.summary.write_text(json.dumps({"remarks": [], "temperature": 2.0}))
    call("correct", "--data", data, "--audit", place.root, "--out", tmp_path / "c", "--soft", "true")
    given = read_label(data / "labelsTr" / "a.nii.gz")[0]
    organ = read_image(tmp_path / "c" / "soft" / "a_organ.nii.gz")[0][0]
    changed = np.zeros(given.shape, bool)
    changed[:, :2] = given[:, :2] == 0
    np.testing.assert_allclose(organ[changed], 2 / 3, atol=0.01)  # odds 4 to the power 1/2
    np.testing.assert_array_equal(organ[~changed], given[~changed])
    unchanged = read_image(tmp_path / "c" / "soft" / "b_organ.nii.gz")[0][0]
    np.testing.assert_array_equal(unchanged, read_label(data / "labelsTr" / "b.nii.gz")[0])
    segmend.train(tmp_path / "c", tmp_path / "run", labels="soft", iterations=1, width=2, any_labelled=1)
    place.evidence("b").unlink()
    with raises("missing-file", "b.npz"):
        segmend.correct(data=data, audit=place.root, out=tmp_path / "d", soft=True)
    assert not (tmp_path / "d").exists()


def dimensions_of(root):
    return len(read_label(DataFolder.open(root).cases[0].label)[0].shape)
