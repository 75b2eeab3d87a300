"""Cross-validations from the command line and from Python."""

from __future__ import annotations

import json
import shutil
from functools import partial

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from refusals import raises

import segmend
from segmend.cli import main
from segmend.commands import train_folds as module
from segmend.core.locks import InUseError
from segmend.data.folder import DataFolder
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.evidence import Evidence
from segmend.engine.run import Run
from segmend.functional.morphology import largest_component
from segmend.networks import UNet

CASES = tuple("abcdef")
TABLE = "case,quality,annotator\na,expert,\nb,noisy,x\nc,noisy,x\nd,noisy,y\ne,noisy,y\n"
SMALL = {"method": "Supervised", "network": partial(UNet, width=2, stages=2), "iterations": 2, "patch": (8, 8, 8)}
ARGUMENTS = ("--method", "Supervised", "--network", "UNet", "--network.width", "2", "--network.stages", "2")
STEPS = ("--iterations", "2", "--patch", "8", "8", "8", "--any_labelled", "1")


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SEGMEND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(make_folder):
    """Six labelled training cases, one more without a label (u), and a test case."""
    return make_folder(
        cases=(*CASES, "u"), test_cases=("t",), unlabelled=("u",), shape=(12, 10, 8), table=TABLE, labels=LABELS
    )


LABELS = {"background": 0, "left": 3, "right": 7}


@pytest.fixture
def train(data, tmp_path):
    """Trains a cross-validation of two folds in this process."""
    return partial(segmend.train, data=data, out=tmp_path / "out", folds=2, any_labelled=1, **SMALL)


def words(data, out, *more):
    return ["train", "--data", str(data), "--out", str(out), *ARGUMENTS, *STEPS, *map(str, more)]


def test_folds_of_nnunet(data, tmp_path, capsys):
    val = ["fa", "bcd", "e"]
    splits = [{"train": sorted({*CASES} - {*held}), "val": [*held]} for held in val]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    out, given = tmp_path / "out", ("--splits", tmp_path / "splits_final.json")
    assert main(words(data, out, *given, "--fold", 2)) == 0
    place = CrossValidation(out)
    assert (place.assignment.folds, place.assignment.held_out(2)) == (3, {"b", "c", "d"})
    assert main(words(data, out, *given)) == 0
    assert place.finished
    assert main(words(data, tmp_path / "other", *given, "--folds", 5)) == 1
    assert "--folds: is 5, but" in capsys.readouterr().err
    (tmp_path / "splits_final.json").write_text(json.dumps(splits[1:] + splits[:1]))
    assert main(words(data, out, *given)) == 1
    assert "holds a cross-validation of other folds" in capsys.readouterr().err


def table_of(file):
    return pd.read_csv(file, dtype={"case": str})


class TestCommand:
    def test_folds_one_by_one_then_predict_and_audit(self, data, tmp_path, contents, capsys):
        before, out = contents(data), tmp_path / "out"
        assert main(words(data, out, "--folds", 2, "--fold", 2)) == 0
        assert "1 of 2 folds are finished; folds still to be trained: 1" in " ".join(capsys.readouterr().err.split())
        assert Run(out / "fold_2").finished
        assert not (out / "fold_1").exists()
        assert not (out / "summary.csv").exists()
        assert (
            main(["predict", "--run", str(out), "--images", str(data / "imagesTs"), "--out", str(tmp_path / "p")]) == 1
        )
        assert "is not complete: fold 1 of 2 is not finished" in capsys.readouterr().err
        second = contents(out / "fold_2")

        assert main(words(data, out, "--folds", 2)) == 0
        said = capsys.readouterr().err
        assert "label" in said
        assert "left" in said
        assert contents(data) == before
        assert {name: of for name, of in contents(out / "fold_2").items() if "tensorboard" not in name} == {
            name: of for name, of in second.items() if "tensorboard" not in name
        }
        assignment = json.loads((out / "folds.json").read_text())
        assert set(assignment["cases"]) == set(CASES)
        for fold in (1, 2):
            shown = DataFolder.open(data, out / "folds" / f"{fold}.csv")
            hidden = {case.name for case in shown.cases if not case.training_label}
            assert hidden == {"u"} | {case for case, number in assignment["cases"].items() if number == fold}
        table = table_of(out / "summary.csv")
        assert list(zip(table["case"], table["label"], strict=True)) == [
            (case, label) for case in CASES for label in ("left", "right")
        ]
        summary = json.loads((out / "summary.json").read_text())
        assert summary["labels"]["left"]["dice"]["mean"] == pytest.approx(
            table.loc[table["label"] == "left", "dice"].mean()
        )
        assert summary["expert_labels"]["cases"] == 1

        assert (
            main(["predict", "--run", str(out), "--images", str(data / "imagesTs"), "--out", str(tmp_path / "p")]) == 0
        )
        written = np.asarray(nibabel.load(tmp_path / "p" / "t.nii.gz").dataobj)
        assert np.array_equal(written, CrossValidation(out).predict(data / "imagesTs" / "t_0000.nii.gz"))

        audit = ["audit", "--data", str(data), "--run", str(out), "--out", str(tmp_path / "audit")]
        assert main(audit) == 0
        judged = table_of(tmp_path / "audit" / "audit.csv").set_index("case")
        assert not judged["in_training_set"].any()
        assert judged["fold"].to_dict() == {case: assignment["cases"][case] for case in judged.index}
        assert not (tmp_path / "audit" / "folds").exists()
        for case in CASES:
            copied = tmp_path / "audit" / "evidence" / f"{case}.npz"
            assert copied.read_bytes() == (out / "out_of_fold" / f"{case}.npz").read_bytes()
        assert main(audit) == 0

    def test_the_planned_network_has_one_plan(self, data, tmp_path):
        out = tmp_path / "out"
        (data / "cases.csv").write_text("case,quality\n" + "".join(f"{case},expert\n" for case in "abcde"))
        arguments = ["train", "--data", str(data), "--out", str(out), "--folds", "2", "--width", "2"]
        assert main([*arguments, "--iterations", "1", "--precision", "32", "--any_labelled", "1"]) == 0
        plans = [(out / name / "plan.json").read_text() for name in (".", "fold_1", "fold_2")]
        assert json.loads(plans[0]) == json.loads(plans[1]) == json.loads(plans[2])
        assert CrossValidation(out).finished
        # The method is recommended for all labels, although one fold holds out the only noisy one.
        assert {run.method_class.__name__ for run in CrossValidation(out).runs} == {"OffsetCorrection"}


class TestOutOfFold:
    def test_each_case_is_predicted_by_the_run_that_does_not_know_its_label(self, data, train):
        whole = train()
        for case in CASES:
            run = whole.run(whole.assignment.fold_of[case])
            assert run.data_state.cases[case]["label"] == ""
            _, expected = run.predict(data / "imagesTr" / f"{case}_0000.nii.gz", probabilities=True)
            stored = [Evidence(whole.out_of_fold(case)).probability(index) for index in range(3)]
            np.testing.assert_allclose(stored, expected, atol=0.01)

    def test_nothing_is_computed_twice(self, train, contents, monkeypatch):
        whole = train()
        before = contents(whole.path / "out_of_fold")
        monkeypatch.setattr("segmend.engine.run.Run.segmenter", lambda *_, **__: pytest.fail("predicts again"))
        assert train().finished
        assert contents(whole.path / "out_of_fold") == before

    def test_what_is_missing_or_damaged_is_made_again(self, train):
        whole = train()
        first, second = whole.out_of_fold("a"), whole.out_of_fold("b")
        expected = first.read_bytes(), second.read_bytes(), whole.summary_table.read_bytes()
        first.unlink()
        second.write_bytes(second.read_bytes()[:-20])
        for file in (whole.record(1), whole.record(2), whole.summary_table, whole.summary_file):
            file.unlink()
        assert not whole.finished
        assert train().finished
        assert (first.read_bytes(), second.read_bytes(), whole.summary_table.read_bytes()) == expected

    def test_a_run_that_was_trained_again_is_predicted_again(self, train, monkeypatch):
        whole = train()
        record = json.loads(whole.record(1).read_text())
        whole.record(1).write_text(json.dumps({**record, "weights": "of another run"}))
        asked = []
        monkeypatch.setattr("segmend.engine.out_of_fold.write_evidence", lambda path, maps: asked.append(path.stem))
        with raises("damaged"):
            train()
        assert set(asked) == whole.assignment.held_out(1)
        assert not whole.finished

    def test_a_fold_that_another_process_trains_is_left_to_it(self, train, tmp_path, monkeypatch, capsys):
        trained = []

        def busy(folder, run, **_):
            trained.append(run.path.name)
            raise InUseError(run.path, "is being written by another process", "wait", code="in-use")

        monkeypatch.setattr("segmend.commands.train_folds.train_run", busy)
        whole = train()
        assert trained == ["fold_1", "fold_2"]
        assert whole.unfinished == (1, 2)
        assert "being trained by other processes: 1, 2" in " ".join(capsys.readouterr().err.split())
        with raises("in-use"):
            train(fold=2)


class TestEnsemble:
    def test_the_mean_of_the_folds(self, data, train):
        whole = train()
        scan = data / "imagesTs" / "t_0000.nii.gz"
        label, found = whole.predict(scan, probabilities=True, largest=False)
        maps = [run.predict(scan, probabilities=True)[1] for run in whole.runs]
        assert not np.allclose(*maps)
        np.testing.assert_allclose(found, np.mean(maps, axis=0), atol=1e-6)
        assert np.array_equal(label, np.array([0, 3, 7])[np.mean(maps, axis=0).argmax(0)])
        assert set(whole.evaluate(data, largest=False)["label"]) == {"left", "right"}

    def test_post_processing_is_applied_unless_it_is_overruled(self, data, train, tmp_path, monkeypatch):
        whole = train()
        scan = data / "imagesTs" / "t_0000.nii.gz"
        chosen = json.loads(whole.postprocessing.read_text())
        for entry in chosen["largest_component"].values():
            assert entry["applied"] == (entry["dice_of_largest_component"] > entry["dice"])
        raw = np.random.default_rng(0).integers(0, 3, (12, 10, 8)).astype(np.uint8)  # many components of each class
        monkeypatch.setattr("segmend.engine.segmenter.resample_argmax", lambda *_: raw)
        assert np.array_equal(whole.predict(scan, largest=False), np.array([0, 3, 7])[raw])
        cleaned = {}
        for classes in ((), (1,), (2,), (1, 2)):
            for index, name in enumerate(("left", "right"), start=1):
                chosen["largest_component"][name]["applied"] = index in classes
            whole.postprocessing.write_text(json.dumps(chosen))
            assert whole.largest == classes
            cleaned[classes] = whole.predict(scan)
            assert np.array_equal(cleaned[classes], np.array([0, 3, 7])[largest_component(raw, classes)])
        assert not np.array_equal(cleaned[()], cleaned[(1, 2)])
        images = data / "imagesTs"
        segmend.predict(run=whole.path, images=images, out=tmp_path / "chosen")
        segmend.predict(run=whole.path, images=images, out=tmp_path / "none", largest_component=False)
        for name, classes in (("chosen", (1, 2)), ("none", ())):
            written = np.asarray(nibabel.load(tmp_path / name / "t.nii.gz").dataobj)
            assert np.array_equal(written, cleaned[classes])

    def test_runs_of_other_tasks_are_not_averaged(self, train):
        whole = train()
        task = json.loads((whole.run(2).path / "task.json").read_text())
        (whole.run(2).path / "task.json").write_text(json.dumps({**task, "patch": [8, 8, 4]}))
        with raises("mismatch", match="that of fold 2 is not that of fold 1"):
            CrossValidation(whole.path).predict(np.zeros((12, 10, 8), np.float32), spacing=(1, 1, 1))


class TestCalibration:
    def test_is_chosen_on_out_of_fold_predictions_and_used(self, data, train, tmp_path, capsys):
        whole = train()
        content = json.loads(whole.calibration_file.read_text())
        assert set(content["classes"]) == {"left", "right"}
        for label, entry in content["classes"].items():
            predictions = sum((Evidence(whole.out_of_fold(case)).label() == label_index(label)).any() for case in CASES)
            assert entry["predictions"] == predictions
        before = whole.calibration_file.read_bytes()
        whole.summary_file.unlink()
        train()
        assert whole.calibration_file.read_bytes() == before
        content["classes"] = {name: {"temperature": 0.5, "predictions": 6} for name in ("left", "right")}
        whole.calibration_file.write_text(json.dumps(content))
        scan = data / "imagesTs" / "t_0000.nii.gz"
        _, table = whole.quality(scan)
        _, alone = whole.run(1).quality(scan)
        assert set(table["calibration"]) == {"calibrated on 6 out-of-fold predictions"}
        assert set(alone["calibration"]) == {"not calibrated: a single run has no out-of-fold predictions"}
        _, given = whole.quality(scan, temperature=2.0)
        assert set(given["calibration"]) == {"not calibrated: a temperature was given"}
        segmend.predict(run=whole.path, images=scan, out=tmp_path / "p", uncertainty=True)
        written = pd.read_csv(tmp_path / "p" / "quality.csv")
        np.testing.assert_allclose(written["expected_volume"], table["expected_volume"], rtol=1e-4)
        assert list(written["calibration"]) == list(table["calibration"])
        assert "calibrated on 6 out-of-fold predictions" in " ".join(capsys.readouterr().err.split())
        whole.calibration_file.unlink()
        assert "calibration.json is missing" in whole.quality(scan)[1]["calibration"][0]
        whole.calibration_file.write_text("{")
        with raises("damaged", "calibration.json"):
            whole.quality(scan)


def label_index(label):
    return list(LABELS).index(label)


class TestSeveralRuns:
    def test_their_mean_is_that_of_their_cross_validation(self, data, train, tmp_path):
        whole = train()
        scan = nibabel.load(data / "imagesTs" / "t_0000.nii.gz").get_fdata()
        together = segmend.RunEnsemble([run.path for run in whole.runs])
        arguments = {"affine": nibabel.load(data / "imagesTs" / "t_0000.nii.gz").affine, "probabilities": True}
        label, maps = together.predict(scan, **arguments)
        expected, of_folds = whole.predict(scan, largest=False, **arguments)
        np.testing.assert_allclose(maps, of_folds, atol=1e-6)
        assert np.array_equal(label, expected)
        assert "several runs" in together.calibration().note("left")
        segmend.predict(
            run=[run.path for run in whole.runs], images=[data / "imagesTs" / "t_0000.nii.gz"], out=tmp_path / "p"
        )
        assert np.array_equal(np.asarray(nibabel.load(tmp_path / "p" / "t.nii.gz").dataobj), label)
        assert len(segmend.RunEnsemble([whole.path, whole.path / "fold_1"]).weights("last")) == 3

    def test_what_does_not_fit_is_refused(self, data, train, tmp_path):
        whole = train()
        first = whole.run(1).path
        other = tmp_path / "other"
        shutil.copytree(first, other)
        task = json.loads((other / "task.json").read_text())
        (other / "task.json").write_text(json.dumps({**task, "patch": [8, 8, 4]}))
        predict = partial(segmend.predict, images=data / "imagesTs", out=tmp_path / "p")
        with raises("mismatch", "run", match="that of run 2 is not that of run 1"):
            predict(run=[first, other])
        with raises("duplicate", "run"):
            predict(run=[first, first])
        with raises("missing-file"):
            predict(run=[first, tmp_path / "nowhere"])
        assert not (tmp_path / "p").exists()


class TestAudit:
    def test_other_scans_cases_and_sources_are_refused(self, data, train, tmp_path, write_scan):
        whole = train()
        audit = partial(segmend.audit, data=data, out=tmp_path / "audit")
        with raises("mismatch", match="Give it alone"):
            audit(run=[whole.path, whole.run(1).path])
        copied = tmp_path / "more"
        shutil.copytree(data, copied)
        shutil.copy(copied / "labelsTr" / "a.nii.gz", copied / "labelsTr" / "u.nii.gz")
        with raises("mismatch", match="no out-of-fold probabilities of case u"):
            segmend.audit(data=copied, out=tmp_path / "audit", run=whole.path)
        (copied / "labelsTr" / "u.nii.gz").unlink()
        shutil.copy(copied / "labelsTr" / "a.nii.gz", copied / "labelsTr" / "b.nii.gz")  # as a correction may do
        assert len(segmend.audit(data=copied, out=tmp_path / "corrected", run=whole.path)) == 12
        shutil.copy(copied / "imagesTr" / "a_0000.nii.gz", copied / "imagesTr" / "b_0000.nii.gz")
        with raises("changed-data", match="those of case b have changed"):
            segmend.audit(data=copied, out=tmp_path / "audit", run=whole.path)
        whole.out_of_fold("c").unlink()
        with raises("damaged", match="no usable out-of-fold probabilities of case c"):
            audit(run=whole.path)
        whole.record(1).unlink()
        with raises("unfinished", match="fold 1 of 2 is not finished"):
            audit(run=whole.path)
        assert not (tmp_path / "audit").exists()


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            ({"folds": 1}, "invalid-value", "folds: must be 2 or more, got 1"),
            ({"folds": 0}, "invalid-value", "folds: must be 2 or more, got 0"),
            ({"fold": 3}, "invalid-value", "fold: must be from 1 to 2, got 3"),
            ({"fold": 0}, "invalid-value", "fold: must be from 1 to 2, got 0"),
            ({"folds": None, "fold": 1}, "missing-value", "fold: is 1, but `folds` is not given"),
            ({"folds": 7}, "no-data", "needs 7 labelled training cases or more, got only 6"),
            ({"expert": 1, "any_labelled": None}, "no-data", r"where the labels of fold [12] are held out"),
        ],
    )
    def test_before_any_work(self, train, tmp_path, arguments, code, said):
        with raises(code, match=said):
            train(**arguments)
        assert not (tmp_path / "out").exists()

    def test_one_labelled_case(self, make_folder, tmp_path, capsys):
        root = make_folder("one", cases=("a", "b"), unlabelled=("b",))
        assert main(words(root, tmp_path / "out", "--folds", 5)) == 1
        said = capsys.readouterr().err
        assert "--folds: needs 5 labelled training cases or more, got only 1 labelled training case in" in said
        assert not (tmp_path / "out").exists()

    def test_the_same_scan_counts_once(self, data, train, tmp_path):
        for case in "bcdef":
            shutil.copy(data / "imagesTr" / "a_0000.nii.gz", data / "imagesTr" / f"{case}_0000.nii.gz")
        with raises("no-data", match="needs 2 different scans or more, got 1"):
            train()

    def test_another_assignment_configuration_or_data(self, data, train, tmp_path):
        train(fold=1)
        with raises("already-exists", match="of 2 folds by seed 0, not of 3 by seed 0"):
            train(folds=3)
        with raises("already-exists", match="of 2 folds by seed 0, not of 2 by seed 1"):
            train(seed=1)
        with raises("already-exists", match="another configuration: {'iterations': 2}, not {'iterations': 3}"):
            train(fold=2, iterations=3)
        with raises("already-exists", match="not a run"):
            train(folds=None)
        (data / "labelsTr" / "b.nii.gz").unlink()
        (data / "cases.csv").write_text(TABLE.replace("b,noisy", "b,none"))
        with raises("changed-data", match="the label, the quality of case b|the label of case b has changed"):
            train(fold=2)
        assert not (tmp_path / "out" / "fold_2").exists()

    def test_a_folder_of_something_else(self, train, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
        with raises("already-exists", match="not a cross-validation"):
            train()

    @pytest.mark.parametrize("content", ["{}", "[", '{"folds": 2}', "{}\n{}"])
    def test_a_damaged_assignment(self, train, content):
        whole = train(fold=1)
        whole.file.write_text(content)
        with raises("damaged", match=r"folds.json: is damaged"):
            train()
        with raises("damaged"):
            segmend.predict(run=whole.path, images=whole.path, out=whole.path / "p")

    def test_commands_that_take_one_run_say_so(self, train):
        whole = train(fold=1)
        with raises("missing-file", match="Give the run of one fold, such as fold_1"):
            segmend.cite(run=whole.path)


def test_settings_choose_the_folds():
    settings = partial(module.FoldSettings, method=None, network=None, options=None, cache=None)
    assert settings(3, None).chosen == [1, 2, 3]
    assert settings(3, 2).chosen == [2]
