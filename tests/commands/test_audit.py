from __future__ import annotations

import inspect
import json
import re
import shutil
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from refusals import raises

from segmend.audit import cross_validation as module
from segmend.audit.corrections import Correction, write_corrections
from segmend.audit.evidence import Evidence, write_evidence
from segmend.cli import main
from segmend.commands.audit import audit
from segmend.commands.train import train
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_image, read_label
from segmend.engine.options import TrainingOptions
from segmend.engine.run import Run
from segmend.functional.morphology import dilate
from segmend.methods import Supervised
from segmend.networks import UNet

pytestmark = pytest.mark.usefixtures("cpu_only", "own_cache")

CASES = tuple("abcdef")
TABLE = "case,split,quality,annotator\na,train,expert,\nv,val,noisy,\nb,train,noisy,ann\n"
NETWORK = partial(UNet, width=2, stages=2)
TRAINING = {"method": Supervised, "network": NETWORK, "iterations": 1, "patch": (16, 16, 16), "any_labelled": 1}
SMALL = {"network": NETWORK, "iterations": 2, "patch": (16, 16, 16), "folds": 2}


@pytest.fixture
def data(make_folder, write_scan):
    """Six labelled training cases, of which c is over-segmented; a is expert, v validation, u without a label."""
    root = make_folder(cases=(*CASES, "u", "v"), test_cases=("t",), unlabelled=("u",), table=TABLE)
    path = root / "labelsTr" / "c.nii.gz"
    values, grid = read_label(path)
    write_scan(path, dilate(values == 1, 7).astype(np.uint8), grid.affine)
    return root


@pytest.fixture
def perfect(monkeypatch, data):
    """Evidence of a model that knows the ellipsoids; no training. Gives the runs that were made."""
    runs = []

    def fake_train(**arguments):
        runs.append(arguments)
        (arguments["out"]).mkdir(parents=True, exist_ok=True)
        return Run(arguments["out"])

    def fake_predictions(cases, folder, used, precision, out):
        for case in cases:
            image, _ = read_image(case.images[0])
            smooth = 1 / (1 + np.exp(-(image[0] - 130) / 5))
            write_evidence(out.evidence(case.name), [1 - smooth, smooth])

    monkeypatch.setattr("segmend.commands.audit.train", fake_train)
    monkeypatch.setattr("segmend.commands.audit.predict_evidence", fake_predictions)
    monkeypatch.setattr(module, "predict_evidence", fake_predictions)
    return runs


class TestEndToEnd:
    def test_two_folds_on_the_command_line(self, data, tmp_path, contents, capsys):
        before = contents(data)
        words = ["--data", data, "--out", tmp_path / "audit", "--folds", 2, "--iterations", 2, "--network", "UNet"]
        words += [
            "--network.width",
            2,
            "--network.stages",
            2,
            "--precision",
            32,
            "--patch",
            16,
            16,
            16,
            "--any_labelled",
            1,
        ]
        assert main(["audit", *map(str, words)]) == 0
        assert contents(data) == before
        assert "Review them in" in capsys.readouterr().err
        out = tmp_path / "audit"
        table = pd.read_csv(out / "audit.csv")
        assert sorted(table["case"]) == list(CASES)
        assert table.set_index("case")["in_training_set"].to_dict() == {case: case == "a" for case in CASES}
        assert set(table["fold"]) == {1, 2}
        assert table.set_index("case").loc["b", "annotator"] == "ann"
        assert {path.name for path in out.iterdir()} >= {
            "audit.csv",
            "audit.json",
            "regions.csv",
            "annotators.csv",
            "checks.csv",
            "settings.json",
            "evidence",
            "folds",
            "proposals",
            "issues",
        }
        for name in ("proposals", "issues"):
            for case in CASES:
                file = out / name / f"{case}.nii.gz"
                assert read_grid(file).matches(read_grid(data / "labelsTr" / f"{case}.nii.gz"))
        summary = json.loads((out / "audit.json").read_text())
        assert summary["evidence"] == {"folds": 2, "seed": 0}
        assert summary["cases_seen_by_their_model"] == ["a"]
        assert "better than they are" in summary["warning"]
        for fold in (1, 2):
            shown = DataFolder.open(data, out / "folds" / f"{fold}.csv")
            hidden = {case.name for case in shown.cases if not case.training_label}
            assert hidden == {"u", "v"} | set(table.loc[(table["fold"] == fold) & ~table["in_training_set"], "case"])
            config = yaml.safe_load((out / "folds" / str(fold) / "config.yaml").read_text())
            assert config["cases"] == str((out / "folds" / f"{fold}.csv").resolve())
            assert config["any_labelled"] == 1

    def test_with_given_runs(self, data, tmp_path):
        runs = [train(data=data, out=tmp_path / f"run{seed}", seed=seed, **TRAINING) for seed in (0, 1)]
        table = audit(data=data, out=tmp_path / "audit", run=[run.path for run in runs])
        assert table["in_training_set"].all()
        assert set(table["fold"]) == {0}
        maps = [
            list(
                module.Segmenter(run.method(), run.task).probabilities(*read_image(data / "imagesTr" / "b_0000.nii.gz"))
            )[1]
            for run in runs
        ]
        stored = stored_evidence(tmp_path / "audit", "b")
        np.testing.assert_allclose(stored, np.mean(maps, axis=0), atol=0.01)


def stored_evidence(out, case):
    return Evidence(out / "evidence" / f"{case}.npz").probability(1)


class TestFindings:
    def test_the_bad_label_is_first_and_explained(self, data, perfect, tmp_path, capsys):
        table = audit(data=data, out=tmp_path / "audit", **SMALL)
        first = table.iloc[0]
        assert (first["case"], first["kind"]) == ("c", "over_segmented")
        assert first["score"] < 0.5
        assert len(perfect) == 2
        said = capsys.readouterr().err
        assert "17 % of 6 labels (17 to 17 %) are expected to have a Dice below 0.8. Suspect: 1." in said
        assert re.search(r"\n  0\.\d\d  0\.\d\d  0\.\d\d  c  organ  over_segmented", said)

    def test_where_nearly_all_labels_are_off_it_says_what_to_do(self, data, perfect, tmp_path, write_scan, capsys):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        assert "--correct_offsets" not in capsys.readouterr().err
        for case in "bcdef":
            path = next(data.glob(f"labelsTr*/{case}.nii.gz"))
            values, grid = read_label(path)
            write_scan(path, (values == 1 if case == "c" else dilate(values == 1, 7)).astype(np.uint8), grid.affine)
        audit(data=data, out=tmp_path / "again", **SMALL)
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(
            r"[45] of 5 noisy labels seem to be over- or under-segmented, with a median offset of \d\.\d mm", said
        )
        assert "'segmend correct --correct_offsets true' shifts the boundary of each" in said

    def test_a_model_that_knows_little_says_so(self, data, perfect, tmp_path, monkeypatch, capsys):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        assert "has not learned" not in capsys.readouterr().err
        monkeypatch.setattr("segmend.audit.expected_dice.LEAST_COMPETENCE", 0.999)
        audit(data=data, out=tmp_path / "audit", **SMALL)
        said = " ".join(capsys.readouterr().err.split())
        assert "None of 6 labels is judged" in said
        assert "The model has not learned 'organ': the median expected Dice of its own outlines is 0.9" in said
        assert "Boundary offsets need less, and are reported" in said

    def test_a_model_that_sees_no_outline_reports_no_offsets_either(self, data, perfect, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("segmend.audit.expected_dice.LEAST_COMPETENCE", 0.999)
        monkeypatch.setattr("segmend.functional.offsets.correction._MIN_CONTRAST", 1e9)
        audit(data=data, out=tmp_path / "audit", **SMALL)
        said = " ".join(capsys.readouterr().err.split())
        assert "has not learned" in said
        assert "Boundary offsets" not in said

    def test_without_any_expert_and_without_a_table(self, data, perfect, tmp_path):
        (data / "cases.csv").unlink()
        table = audit(data=data, out=tmp_path / "audit", **SMALL)
        assert not table["in_training_set"].any()
        assert set(table["case"]) == {*CASES, "v"}
        assert "warning" not in json.loads((tmp_path / "audit" / "audit.json").read_text())

    def test_cheap_checks(self, data, perfect, tmp_path, write_scan):
        path = data / "labelsTr" / "d.nii.gz"
        values, grid = read_label(path)
        write_scan(path, np.zeros_like(values), grid.affine)
        (data / "imagesTr" / "e_0000.nii.gz").write_bytes((data / "imagesTr" / "f_0000.nii.gz").read_bytes())
        audit(data=data, out=tmp_path / "audit", **SMALL)
        checks = pd.read_csv(tmp_path / "audit" / "checks.csv")
        assert {("d", "empty"), ("f", "same_image")} <= set(zip(checks["case"], checks["check"], strict=True))
        table = pd.read_csv(tmp_path / "audit" / "audit.csv").set_index("case")
        assert table.loc["e", "fold"] == table.loc["f", "fold"]

    def test_of_corrected_labels_the_rounds_are_reported(self, data, perfect, tmp_path):
        write_corrections(data / "corrections.csv", [Correction(1, "c", "organ", "x", "y", "", "", "", 1, 1, "")])
        table = audit(data=data, out=tmp_path / "audit", **SMALL).set_index("case")
        assert table["corrected"].to_dict() == {case: int(case == "c") for case in CASES}


class TestResuming:
    def test_what_is_there_is_not_made_again(self, data, perfect, tmp_path):
        first = audit(data=data, out=tmp_path / "audit", **SMALL)
        kept = tmp_path / "audit" / "evidence" / "b.npz"
        time = kept.stat().st_mtime_ns
        (tmp_path / "audit" / "evidence" / "c.npz").unlink()
        again = audit(data=data, out=tmp_path / "audit", **SMALL)
        assert kept.stat().st_mtime_ns == time
        pd.testing.assert_frame_equal(first, again)

    def test_runs_of_folds_may_be_deleted_afterwards(self, data, perfect, tmp_path):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        perfect.clear()
        shutil.rmtree(tmp_path / "audit" / "folds")
        audit(data=data, out=tmp_path / "audit", **SMALL)
        assert perfect == []

    def test_a_crash_in_the_middle(self, data, perfect, tmp_path, monkeypatch):
        fake = module.predict_evidence
        done = []

        def crash(cases, *rest):
            for case in cases:
                if len(done) == 3:
                    raise KeyboardInterrupt
                fake([case], *rest)
                done.append(case.name)

        monkeypatch.setattr(module, "predict_evidence", crash)
        with pytest.raises(KeyboardInterrupt):
            audit(data=data, out=tmp_path / "audit", **SMALL)
        assert not (tmp_path / "audit" / "audit.csv").exists()
        monkeypatch.setattr(module, "predict_evidence", fake)
        assert len(audit(data=data, out=tmp_path / "audit", **SMALL)) == 6

    def test_another_audit_in_the_folder_is_refused(self, data, perfect, tmp_path, write_scan):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        with raises("already-exists", tmp_path / "audit", match="other evidence"):
            audit(data=data, out=tmp_path / "audit", **SMALL | {"folds": 3})
        path = data / "labelsTr" / "c.nii.gz"
        values, grid = read_label(path)
        write_scan(path, np.zeros_like(values), grid.affine)
        with raises("already-exists", tmp_path / "audit", match="other labels"):
            audit(data=data, out=tmp_path / "audit", **SMALL)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"iterations": 3}, r"other training \(iterations\)"),
            ({"network": partial(UNet, width=3, stages=2)}, r"other training \(network\)"),
            ({"seed": 1}, r"other evidence \(seed\) and training \(seed\)"),
        ],
    )
    def test_models_of_other_arguments_are_another_audit(self, data, perfect, tmp_path, change, message):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        shutil.rmtree(tmp_path / "audit" / "folds")  # which a user may do
        with raises("already-exists", tmp_path / "audit", match=message):
            audit(data=data, out=tmp_path / "audit", **SMALL | change)
        audit(data=data, out=tmp_path / "audit", **SMALL | {"workers": 0, "checkpoint_every": 7})

    @pytest.mark.parametrize("changed", ["cases.csv", "imagesTr/u_0000.nii.gz"])
    def test_models_of_other_training_data_are_another_audit(self, data, perfect, tmp_path, write_scan, changed):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        if changed == "cases.csv":
            (data / changed).write_text(TABLE + "d,train,expert,\n")
        else:
            image, grid = read_image(data / changed)
            write_scan(data / changed, image[0] + 1, grid.affine)
        with raises("already-exists", tmp_path / "audit", match=r"other training \(data\)"):
            audit(data=data, out=tmp_path / "audit", **SMALL)

    def test_classes_of_other_values_are_another_audit(self, data, perfect, tmp_path):
        audit(data=data, out=tmp_path / "audit", **SMALL)
        text = (data / "dataset.json").read_text()
        (data / "dataset.json").write_text(text.replace('"organ": 1', '"organ": 1, "vessel": 2'))
        with raises("already-exists", tmp_path / "audit", match=r"other classes \(vessel\)"):
            audit(data=data, out=tmp_path / "audit", **SMALL)

    def test_an_audit_that_is_interrupted_the_second_time_is_none(self, data, perfect, tmp_path, monkeypatch):
        audit(data=data, out=tmp_path / "audit", **SMALL)

        def interrupted(auditor):
            raise KeyboardInterrupt

        monkeypatch.setattr("segmend.audit.by_region.Auditor.run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audit(data=data, out=tmp_path / "audit", **SMALL)
        for name in ("audit.csv", "audit.json", "regions.csv", "report.html"):
            assert not (tmp_path / "audit" / name).exists()
        assert (tmp_path / "audit" / "evidence" / "a.npz").is_file()

    def test_something_else_in_the_folder_is_refused(self, data, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("unsaved")
        with raises("already-exists", tmp_path / "full"):
            audit(data=data, out=tmp_path / "full", **SMALL)


class TestArguments:
    def test_cases_without_a_label_are_counted_and_the_first_is_named(self, make_folder, tmp_path, capsys):
        root = make_folder("unlabelled", unlabelled=("case_2", "case_3"))
        words = ["--data", root, "--out", tmp_path / "audit", "--folds", 1]
        assert main(["audit", *map(str, words)]) == 1
        assert "2 of 3 training cases have no label (first: case_2)" in capsys.readouterr().err

    def test_all_of_train_are_there(self):
        of_train, of_audit = (inspect.signature(command).parameters for command in (train, audit))
        assert set(of_audit) - set(of_train) == {"run", "probabilities", "nnunet", "earlier", "retrain", "cores"}
        assert set(of_train) - set(of_audit) == {"fold"}
        differing = {name for name in of_train if name in of_audit and of_train[name].default != of_audit[name].default}
        assert differing == {"method", "iterations", "folds"}

    def test_all_of_them_reach_it(self, data, perfect, tmp_path):
        values = {
            "iterations": 7,
            "patch": (16, 16, 16),
            "spacing": "native",
            "dimensions": 3,
            "expert": 1,
            "noisy": 2,
            "unlabelled": 3,
            "any_labelled": 4,
            "foreground": 0.5,
            "seed": 6,
            "precision": "32",
            "devices": 1,
            "nodes": 1,
            "workers": 0,
            "compile": True,
            "checkpoint_every": 9,
            "initial_iterations": 5,
            "memory": 2.0,
            "width": 8,
            "foreground_by": "class",
            "residual": False,
        }
        audit(data=data, out=tmp_path / "audit", folds=2, cache=tmp_path, network=NETWORK, **values)
        given = perfect[0]
        assert given["options"] == TrainingOptions(**values)
        assert set(values) == {field.name for field in fields(TrainingOptions)} - {
            "augmentation",
            "optimisation",
            "weights",
            "labels",
            "recipe",
        }
        assert (given["cache"], given["network"]) == (tmp_path, NETWORK)
        left = {name for name in inspect.signature(train).parameters if not hasattr(TrainingOptions(), name)} - set(
            given
        )
        assert left == {"fold", "folds", "splits"}  # which would train folds of a fold

    @pytest.mark.parametrize(
        ("arguments", "code", "where"),
        [
            ({"folds": 1}, "invalid-value", "folds"),
            ({"data": "nowhere"}, "missing-file", "nowhere"),
            ({"run": "nowhere"}, "missing-file", "nowhere"),
        ],
    )
    def test_senseless_ones_are_refused(self, data, tmp_path, arguments, code, where):
        given = {"data": data, "out": tmp_path / "audit"} | {
            name: Path(value) if isinstance(value, str) else value for name, value in arguments.items()
        }
        with raises(code, where):
            audit(**given)
        assert not (tmp_path / "audit").exists()

    def test_nothing_to_audit(self, make_folder, tmp_path):
        bare = make_folder("bare", unlabelled=("case_1", "case_2", "case_3"))
        with raises("no-data", bare):
            audit(data=bare, out=tmp_path / "audit")
        single = make_folder("single", cases=("one",))
        with raises("no-data", single, match="only one"):
            audit(data=single, out=tmp_path / "audit")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"labels": {"background": 0, "liver": 1}}, "was trained for the labels"),
            ({"channels": ("T1", "T2")}, "was trained on T1, T2, not MR"),
        ],
    )
    def test_a_run_of_other_data(self, data, make_folder, tmp_path, options, message):
        other = make_folder("other", **options)
        run = train(data=other, out=tmp_path / "run", **TRAINING)
        with raises("mismatch", match=message):
            audit(data=data, out=tmp_path / "audit", run=run.path)

    def test_the_data_folder_is_not_written_to(self, data):
        with raises("invalid-value", data / "audit", match="lies in the data folder"):
            audit(data=data, out=data / "audit")
        assert not (data / "audit").exists()


def test_a_run_on_data_that_are_gone_counts_as_having_seen_all(data, perfect, tmp_path, monkeypatch):
    run = train(data=data, out=tmp_path / "run", **TRAINING)
    assert module.trained_on(run) == set(CASES)
    # What it has learned from counts, not what the folder holds by now.
    (data / "cases.csv").write_text(TABLE.replace("v,val", "v,train") + "c,train,none,\n")
    assert module.trained_on(Run(run.path)) == set(CASES)
    data.rename(tmp_path / "moved")
    assert module.trained_on(Run(run.path)) is None


def test_folds_of_nnunet(data, tmp_path, perfect):
    """The expert case a is in the splits, but held out by no fold of an audit."""
    val = ["abf", "cd", "e"]
    splits = tmp_path / "splits_final.json"
    splits.write_text(json.dumps([{"train": sorted({*CASES} - {*held}), "val": [*held]} for held in val]))
    table = audit(data=data, out=tmp_path / "audit", splits=splits, **TRAINING)
    assert len(perfect) == 3
    fold_of = dict(zip(table["case"], table["fold"], strict=True))
    assert {name: fold_of[name] for name in "bcdef"} == {"b": 1, "c": 2, "d": 2, "e": 3, "f": 1}
    with raises("already-exists", tmp_path / "audit"):
        audit(data=data, out=tmp_path / "audit", **TRAINING)
