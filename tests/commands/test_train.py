from __future__ import annotations

import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from refusals import raises

import segmend
from segmend.cli import main
from segmend.data import cache as cache_module
from segmend.engine.run import Run
from segmend.methods import PLIL, OffsetCorrection, Revision, Supervised
from segmend.networks import SegResNet, UNet, VNet

pytestmark = pytest.mark.usefixtures("cpu_only")

SHAPE = (24, 24, 20)
QUALITIES = "case,quality\ncase_1,expert\ncase_2,expert\n"
WITH_VALIDATION = QUALITIES.replace("quality", "quality,split") + "case_4,expert,val\n"
TINY_VNET = ("--network", "VNet", "--network.width", "2", "--patch", "16", "16", "16")
TINY_UNET = ("--network", "UNet", "--network.width", "2", "--network.stages", "2", "--patch", "8", "8", "8")


@pytest.fixture(autouse=True)
def _as_many_threads_elsewhere(monkeypatch):
    """Processes that a test starts sum in the same order as this one."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))


@pytest.fixture
def words(tmp_path):
    """What stands behind ``segmend`` to train a run."""

    def make(root, *arguments, method="Supervised", out="run"):
        places = ["--data", str(root), "--out", str(tmp_path / out), "--cache", str(tmp_path / "cache")]
        return ["train", "--method", method, *places, *map(str, arguments)]

    return make


@pytest.fixture
def train(words, tmp_path):
    """Trains in this process and gives the run."""

    def call(root, *arguments, out="run", **options):
        assert main(words(root, *arguments, out=out, **options)) == 0
        return Run(tmp_path / out)

    return call


@pytest.fixture
def refused(words, tmp_path, capsys):
    """What is said about arguments that cannot be used; makes sure that nothing was begun."""

    def call(root, *arguments, status=1, **options):
        assert main(words(root, *arguments, **options)) == status
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    return call


def checkpoint(file):
    return torch.load(file, weights_only=True)


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = checkpoint(one), checkpoint(other)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        torch.testing.assert_close(first[part], second[part], rtol=0, atol=0)


def rows_of(run):
    with run.log.open() as file:
        return list(csv.DictReader(file))


class TestDefaultMethod:
    def test_a_run_without_a_named_method_takes_and_tells_it(self, make_folder, words, tmp_path, capsys):
        arguments = words(make_folder(shape=SHAPE, table=QUALITIES), *TINY_VNET, "--iterations", 2)
        without = [word for word in arguments if word not in ("--method", "Supervised")]
        assert main(without) == 0
        run = Run(tmp_path / "run")
        assert isinstance(run.method(), OffsetCorrection)
        assert "method: OffsetCorrection, as some labels are expert ones, some are noisy" in capsys.readouterr().err
        assert main(without) == 0  # the same command goes on

    def test_arguments_of_a_method_need_its_name(self, make_folder, words, tmp_path, capsys):
        arguments = [word for word in words(make_folder()) if word not in ("--method", "Supervised")]
        assert main([*arguments, "--method.passes", "2"]) == 2
        message = "--method.passes: is an argument of a method, but none is named. Add --method NAME."
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


class TestResume:
    @pytest.mark.parametrize("precision", ["32", "bf16"])
    def test_a_run_that_is_killed_twice_ends_in_the_same_bits(self, make_folder, words, train, precision, tmp_path):
        root = make_folder(cases=[f"case_{n}" for n in (1, 2, 3, 4)], shape=SHAPE, table=WITH_VALIDATION)
        arguments = [*TINY_VNET, "--iterations", 15, "--checkpoint_every", 3, "--precision", precision]
        arguments += ["--augmentation.noise", 0.1, "--foreground", 0.5]
        whole = train(root, *arguments, method="PLIL", out="whole")
        killed = Run(tmp_path / "killed")
        for _ in range(2):
            kill_after_next_checkpoint(words(root, *arguments, method="PLIL", out="killed"), killed.last)
            assert not killed.finished
            assert 0 < checkpoint(killed.last)["global_step"] < 15
        train(root, *arguments, method="PLIL", out="killed")

        names = checkpoint(whole.last)["state_dict"]
        assert any(name.startswith("method.teacher.") and name.endswith("running_var") for name in names)
        assert_same_bits(killed.last, whole.last)
        assert_same_bits(killed.best, whole.best)
        assert killed.log.read_bytes() == whole.log.read_bytes()
        assert [int(row["step"]) for row in rows_of(whole)] == [1, 3, 6, 9, 10, 12, 15]
        assert sorted(path.name for path in killed.last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_to_all_its_processes_loses_at_most_a_step(
        self, make_folder, train, words, tmp_path, number, status
    ):
        """As batch systems and terminals send it, also to the processes that load data."""
        root = make_folder(shape=SHAPE, table=QUALITIES)
        arguments = [*TINY_UNET, "--iterations", 400, "--checkpoint_every", 400, "--workers", 2]
        run = Run(tmp_path / "stopped")
        process = subprocess.Popen(
            [sys.executable, "-m", "segmend", *words(root, *arguments, out="stopped")],
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        while process.poll() is None and not run.log.exists():
            time.sleep(0.002)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == status
        step = checkpoint(run.last)["global_step"]
        assert 0 < step < 400
        assert err.decode().endswith(f"run the same command again to continue from step {step}\n")
        assert not list(run.path.rglob(".*"))
        train(root, *arguments, out="stopped")
        whole = train(root, *arguments, out="whole")
        assert_same_bits(run.last, whole.last)
        assert run.log.read_bytes() == whole.log.read_bytes()

    def test_a_finished_run_is_not_repeated(self, make_folder, train, contents):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 2)
        before = contents(run.path)
        train(root, *TINY_UNET, "--iterations", 2)
        assert contents(run.path) == before

    def test_a_finished_run_says_so(self, make_folder, train, words, capsys):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 2)
        capsys.readouterr()
        train(root, *TINY_UNET, "--iterations", 2)
        assert f"{run.path} is finished already; nothing to do" in capsys.readouterr().err.replace("\n", "")

    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            ("labelsTr/case_1.nii.gz", "the label of case case_1 has changed"),
            ("imagesTr/case_2_0000.nii.gz", "the images of case case_2 has changed"),
            ("cases.csv", "the quality of case case_1 has changed"),
        ],
    )
    def test_a_finished_run_does_not_pass_for_one_on_changed_data(
        self, make_folder, train, words, capsys, write_scan, contents, changed, named
    ):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 1)
        before = contents(run.path)
        if changed == "cases.csv":
            (root / changed).write_text("case,quality\ncase_1,expert\n")
        else:
            random = np.random.default_rng(9).integers(0, 2, (20, 18, 16)).astype(np.uint8)
            write_scan(root / changed, random, np.diag([1.0, 1.0, 1.5, 1.0]))
        capsys.readouterr()
        assert main(words(root, *TINY_UNET, "--iterations", 1)) == 1
        assert f"{run.path}: was trained on other data: {named}" in capsys.readouterr().err
        assert contents(run.path) == before

    def test_a_finished_run_of_an_earlier_version_is_known_by_its_fingerprint(
        self, make_folder, train, words, capsys, write_scan
    ):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 1)
        (run.path / "data.json").unlink()
        train(root, *TINY_UNET, "--iterations", 1)
        label = np.random.default_rng(9).integers(0, 2, (20, 18, 16)).astype(np.uint8)
        write_scan(root / "labelsTr" / "case_1.nii.gz", label, np.diag([1.0, 1.0, 1.5, 1.0]))
        capsys.readouterr()
        assert main(words(root, *TINY_UNET, "--iterations", 1)) == 1
        assert f"{run.path}: was trained on other data." in capsys.readouterr().err

    def test_what_does_not_change_the_result_may_differ(self, make_folder, train, contents):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 2)
        before = contents(run.path)
        train(root, *TINY_UNET, "--iterations", 2, "--checkpoint_every", 1, "--workers", 1)
        assert contents(run.path) == before

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--seed", "1"], "{'seed': 0}, not {'seed': 1}"),
            (["--patch", "8", "8", "16"], "{'patch': [8, 8, 8]}, not {'patch': [8, 8, 16]}"),
            (["--optimisation.learning_rate", "0.5"], "'learning_rate': None"),
            (["--devices", "2"], "{'devices': 'auto'}, not {'devices': 2}"),
        ],
    )
    def test_another_configuration_is_refused(self, make_folder, train, words, capsys, contents, arguments, named):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 1)
        before = contents(run.path)
        capsys.readouterr()
        assert main(words(root, *TINY_UNET, "--iterations", 1, *arguments)) == 1
        message = capsys.readouterr().err
        assert f"{run.path}: holds a run of another configuration" in message
        assert named in message
        assert contents(run.path) == before

    def test_a_folder_with_something_else_is_refused(self, make_folder, words, capsys, tmp_path, contents):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.tex").write_text("years of work")
        assert main(words(make_folder(), *TINY_UNET)) == 1
        assert "run: holds something that is not a run. Choose another --out." in capsys.readouterr().err
        assert list(contents(tmp_path / "run")) == ["thesis.tex"]

    @pytest.mark.parametrize("changed", ["labelsTr/case_1.nii.gz", "imagesTr/case_1_0000.nii.gz", "cases.csv"])
    def test_changed_data_are_refused(self, make_folder, train, words, capsys, write_scan, changed):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 1)
        (run.path / "summary.json").unlink()
        if changed == "cases.csv":
            (root / changed).write_text(QUALITIES)
        else:
            random = np.random.default_rng(9).integers(0, 2, (20, 18, 16)).astype(np.uint8)
            write_scan(root / changed, random, np.diag([1.0, 1.0, 1.5, 1.0]))
        capsys.readouterr()
        assert main(words(root, *TINY_UNET, "--iterations", 1)) == 1
        assert f"{run.path}: was begun with other data. Restore the data folder" in capsys.readouterr().err

    def test_a_refused_argument_does_not_claim_the_folder(self, make_folder, words, train, monkeypatch):
        """Otherwise its correction would be refused as another configuration."""
        root = make_folder()
        monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1})())
        assert main(words(root, *TINY_UNET)) == 1
        monkeypatch.undo()
        train(root, *TINY_UNET, "--iterations", 1, "--seed", 1)


def kill_after_next_checkpoint(words, file):
    before = file.stat().st_mtime_ns if file.exists() else 0
    process = subprocess.Popen([sys.executable, "-m", "segmend", *words])
    while process.poll() is None and (not file.exists() or file.stat().st_mtime_ns == before):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL


class TestReproduction:
    def test_from_a_configuration_file(self, make_folder, train, tmp_path, monkeypatch):
        root = make_folder(shape=SHAPE, table=QUALITIES)
        arguments = ["--network", "SegResNet", "--network.init_filters", 8, "--patch", 16, 16, 16]
        arguments += ["--iterations", 3, "--seed", 4, "--method.passes", 2, "--optimisation.optimiser", "adamw"]
        arguments += [
            "--method.features",
            "[net.up_layers.0,net.up_layers.1,net.up_layers.2]",
            "--spacing",
            1,
            1.25,
            1.5,
        ]
        run = train(root, *arguments, method="PLIL")
        monkeypatch.chdir(tmp_path)
        words = ["train", "--out", "again", "--cache", "cache", "--config", str(run.path / "config.yaml")]
        assert main(words) == 0
        again = Run(tmp_path / "again")
        assert_same_bits(run.last, again.last)
        assert {**again.config, "out": run.config["out"]} == run.config
        assert again.config["network"]["init_args"]["init_filters"] == 8
        assert isinstance(again.method().network, SegResNet)

    def test_with_one_thing_changed(self, make_folder, train, tmp_path):
        run = train(make_folder(), *TINY_UNET, "--iterations", 2)
        words = ["--config", str(run.path / "config.yaml"), "--cache", str(tmp_path / "cache")]
        assert main(["train", "--seed", "1", *words, "--out", str(tmp_path / "other")]) == 0
        other = Run(tmp_path / "other")
        differing = {name for name in run.config if run.config[name] != other.config[name]}
        assert differing == {"seed", "out"}
        weights = [checkpoint(it.last)["state_dict"]["method.network.decoder.head.weight"] for it in (run, other)]
        assert not torch.equal(*weights)

    def test_the_configuration_is_complete(self, make_folder, train):
        run = train(make_folder(), *TINY_UNET, "--iterations", 1)
        written = yaml.safe_load((run.path / "config.yaml").read_text())
        not_of_the_result = {"cache", "workers", "checkpoint_every", "memory", "width", "folds", "fold", "splits"}
        assert set(written) == set(inspect.signature(segmend.train).parameters) - not_of_the_result

    def test_from_python(self, make_folder, train, tmp_path):
        root = make_folder()
        run = train(root, *TINY_UNET, "--iterations", 2)
        again = segmend.train(
            data=root,
            method=Supervised,
            network=partial(UNet, width=2, stages=2),
            patch=(8, 8, 8),
            iterations=2,
            out=tmp_path / "python",
            cache=tmp_path / "cache",
        )
        assert_same_bits(run.last, again.last)

    @pytest.mark.parametrize("cached", [False, True])
    def test_a_hidden_label_changes_nothing(self, make_folder, train, tmp_path, write_scan, cached):
        """Not even where intensities are normalised by the labelled foreground, whatever was cached before."""
        table = QUALITIES + "case_3,none\n"
        root = make_folder(table=table, channels=("CT",))
        if cached:
            (root / "cases.csv").write_text(QUALITIES)
            train(root, *TINY_UNET, "--iterations", 1, out="seen")
            (root / "cases.csv").write_text(table)
        arguments = [*TINY_UNET, "--iterations", 3, "--foreground", 1]
        before = train(root, *arguments, method="MeanTeacher", out="before")
        write_scan(root / "labelsTr" / "case_3.nii.gz", np.ones((20, 18, 16), np.uint8), np.diag([1, 1, 1.5, 1]))
        changed = train(root, *arguments, method="MeanTeacher", out="changed")
        (root / "labelsTr" / "case_3.nii.gz").unlink()
        absent = train(root, *arguments, method="MeanTeacher", out="absent")
        assert_same_bits(before.last, changed.last)
        assert_same_bits(before.last, absent.last)
        assert before.task == changed.task == absent.task


WITNESS = """
import json, os
from pathlib import Path
from segmend.engine.learner import Learner

cases, step = [], Learner.training_step

def training_step(self, batch, batch_idx):
    cases.append(batch.cases)
    return step(self, batch, batch_idx)

def on_train_end(self):
    weights = {name: value.flatten().tolist() for name, value in self.method.named_parameters()}
    file = Path(os.environ["WITNESS"]) / f"{self.global_rank}.json"
    file.write_text(json.dumps({"cases": cases, "weights": weights, "processes": self.trainer.world_size}))

Learner.training_step, Learner.on_train_end = training_step, on_train_end
"""


class TestSeveralProcesses:
    def test_learn_the_same_from_different_samples(self, make_folder, words, train, tmp_path):
        """Both write down what they see and end with; Python imports the witness in each of them."""
        root = make_folder(cases=[f"case_{n}" for n in (1, 2, 3, 4, 5)], table=WITH_VALIDATION)
        (tmp_path / "witness").mkdir()
        (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS)
        path = os.pathsep.join([str(tmp_path / "witness"), os.environ.get("PYTHONPATH", "")])
        arguments = [*TINY_UNET, "--devices", 2, "--any_labelled", 1, "--iterations", 4, "--checkpoint_every", 2]
        done = subprocess.run(
            [sys.executable, "-m", "segmend", *words(root, *arguments)],
            env={**os.environ, "PYTHONPATH": path, "WITNESS": str(tmp_path / "witness")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        first, second = (json.loads((tmp_path / "witness" / f"{rank}.json").read_text()) for rank in (0, 1))
        assert first["processes"] == second["processes"] == 2
        assert first["weights"] == second["weights"]
        seen = [case for step in zip(first["cases"], second["cases"], strict=True) for batch in step for case in batch]
        training = {"case_1", "case_2", "case_3", "case_5"}
        assert set(seen[:4]) == set(seen[4:]) == training

        run = Run(tmp_path / "run")
        assert run.finished
        assert run.best.is_file()
        assert [float(row["val_dice"]) >= 0 for row in rows_of(run) if row["val_dice"]] == [True, True]
        saved = checkpoint(run.last)["state_dict"]
        for name, values in first["weights"].items():
            assert saved[f"method.{name}"].flatten().tolist() == values
        alone = train(root, *TINY_UNET, "--any_labelled", 1, "--iterations", 4, out="alone")
        assert not torch.equal(
            checkpoint(alone.last)["state_dict"]["method.network.decoder.head.weight"],
            saved["method.network.decoder.head.weight"],
        )

        images = root / "imagesTr"
        assert (
            main(["predict", "--run", str(run.path), "--images", str(images), "--out", str(tmp_path / "labels")]) == 0
        )
        assert len(list((tmp_path / "labels").iterdir())) == 5


class TestValidation:
    def test_gives_a_best_checkpoint_and_a_score(self, make_folder, train):
        root = make_folder(cases=[f"case_{n}" for n in (1, 2, 3, 4)], table=WITH_VALIDATION)
        run = train(root, *TINY_UNET, "--iterations", 4, "--checkpoint_every", 2)
        scores = {int(row["step"]): float(row["val_dice"]) for row in rows_of(run) if row["val_dice"]}
        assert set(scores) == {2, 4}
        assert all(0 <= score <= 1 for score in scores.values())
        assert checkpoint(run.best)["global_step"] == max(scores, key=scores.__getitem__)

    def test_without_it_there_is_neither(self, make_folder, train):
        run = train(make_folder(), *TINY_UNET, "--iterations", 2)
        assert not run.best.exists()
        assert "val_dice" not in rows_of(run)[0]

    def test_it_does_not_change_what_is_learned(self, make_folder, train):
        cases = [f"case_{n}" for n in (1, 2, 3, 4)]
        with_it = train(make_folder(cases=cases, table=WITH_VALIDATION), *TINY_UNET, "--iterations", 3, out="with")
        root = make_folder("without", cases=cases, table=WITH_VALIDATION.replace("val", "test"))
        assert_same_bits(with_it.last, train(root, *TINY_UNET, "--iterations", 3, out="without_it").last)

    def test_a_case_without_a_label_is_not_validated_on(self, make_folder, train):
        root = make_folder(table="case,split\ncase_3,val\n", unlabelled=("case_3",))
        assert not train(root, *TINY_UNET, "--iterations", 1).best.exists()


class TestData:
    @pytest.mark.parametrize("ending", [".png", ".tif"])
    def test_pictures(self, make_folder, train, tmp_path, ending):
        labels = {"background": 0, "a": 1, "b": 200}
        root = make_folder(shape=(40, 36), ending=ending, channels=("red", "green"), labels=labels)
        arguments = ["--network", "UNet", "--network.width", 2, "--network.stages", 2, "--patch", 16, 16]
        run = train(root, *arguments, "--iterations", 2)
        assert run.task.dimensions == 2
        assert run.task.channel_names == ("red", "green")
        out = tmp_path / "labels"
        assert main(["predict", "--run", str(run.path), "--images", str(root / "imagesTr"), "--out", str(out)]) == 0
        assert sorted(path.name for path in out.iterdir()) == [f"case_{n}{ending}" for n in (1, 2, 3)]
        label, grid = segmend_label(out / f"case_1{ending}")
        assert grid.shape == (40, 36)
        assert set(np.unique(label)) <= {0, 1, 200}

    def test_slices_of_volumes(self, make_folder, train, tmp_path):
        root = make_folder(shape=(20, 10, 22), affine=np.diag([1.0, 4.0, 1.0, 1.0]), channels=("T1", "T2"))
        arguments = ["--dimensions", 2, "--network", "UNet", "--network.width", 2, "--network.stages", 2]
        run = train(root, *arguments, "--iterations", 2, "--patch", 8, 16, "--spacing", 2, 1)
        assert run.task.dimensions == 2
        assert run.task.preprocessing.slice_axis == 1
        assert run.task.preprocessing.spacing == (2.0, 1.0, None)
        assert run.method().network.decoder.head.weight.ndim == 4
        out = tmp_path / "labels"
        assert main(["predict", "--run", str(run.path), "--images", str(root / "imagesTr"), "--out", str(out)]) == 0
        assert segmend_label(out / "case_1.nii.gz")[0].shape == (20, 10, 22)

    def test_the_patch_is_chosen_from_the_data(self, make_folder, train):
        run = train(make_folder(shape=SHAPE), *TINY_UNET[:-4], "--iterations", 1)
        assert run.task.patch == (24, 24, 20)
        assert run.config["patch"] is None

    def test_counts_make_the_batch(self, make_folder, train, monkeypatch):
        seen = []
        monkeypatch.setattr(Supervised, "loss", lambda self, batch, step: seen.append(batch.quality) or _nothing(self))
        root = make_folder(table=QUALITIES + "case_3,none\n")
        train(root, *TINY_UNET, "--iterations", 1, "--expert", 2, "--unlabelled", 1)
        assert seen == [("expert", "expert", "none")]

    def test_the_table_may_lie_elsewhere(self, make_folder, train, tmp_path):
        (tmp_path / "mine.csv").write_text(WITH_VALIDATION.replace("case_4", "case_3"))
        run = train(make_folder(), *TINY_UNET, "--iterations", 1, "--cases", tmp_path / "mine.csv")
        assert run.best.is_file()

    def test_nothing_given_is_touched(self, make_folder, train, contents):
        root = make_folder(table=QUALITIES)
        before = contents(root)
        train(root, *TINY_UNET, "--iterations", 1)
        assert contents(root) == before


class Growing(Supervised):
    """Before step 1, calls every voxel the object."""

    layers = ("grown",)

    def revises(self, step):
        return step.index == 1

    def revise(self, cases, step):
        return [Revision(case.name, {"grown": torch.ones_like(case.given)}) for case in cases]


class TestLayers:
    def test_the_truth_is_for_the_table_alone(self, make_folder, tmp_path):
        root = make_folder(shape=(8, 8, 8), cases=("a", "b"))

        def train(out):
            return segmend.train(
                data=root,
                method=Growing,
                network=partial(UNet, width=2, stages=2),
                patch=(8, 8, 8),
                iterations=2,
                out=tmp_path / out,
                cache=tmp_path / "cache",
            )

        without = train("without")
        (root / "labelsTr_clean").mkdir()
        shutil.copy(root / "labelsTr" / "b.nii.gz", root / "labelsTr_clean" / "a.nii.gz")
        run = train("run")
        assert_same_bits(run.last, without.last)
        assert run.task == without.task

        true, given = (segmend_label(root / "labelsTr" / f"{case}.nii.gz")[0] for case in ("b", "a"))
        rows = pd.read_csv(run.path / "labels.csv").set_index(["revision", "case"])
        assert rows["dice_to_truth"][0, "a"] == pytest.approx(2 * (true & given).sum() / (true.sum() + given.sum()))
        assert rows["dice_to_truth"][1, "a"] == pytest.approx(2 * true.sum() / (true.sum() + true.size))
        assert rows["dice_to_truth"].isna().tolist() == [False, True, False, True]
        assert rows["changed"][1, "a"] == given.size - given.sum()
        assert pd.read_csv(without.path / "labels.csv")["dice_to_truth"].isna().all()


class TestErrors:
    def test_no_expert_case(self, make_folder, refused):
        message = refused(make_folder(), *TINY_VNET, method="PLIL")
        assert "method PLIL: takes 2 expert + 2 noisy samples a batch" in message
        assert "there is no expert training case (0 expert, 3 noisy, 0 none). Mark cases in" in message

    def test_cases_without_a_label_are_counted_and_the_first_is_named(self, make_folder, refused):
        root = make_folder(unlabelled=("case_2", "case_3"))
        said = refused(root, *TINY_VNET, "--patch", 17, 16, 30)
        assert "2 of 3 training cases have no label (first: case_2)" in said

    def test_a_label_that_no_case_uses(self, make_folder, refused):
        root = make_folder()
        (root / "labelsTr" / "case_2.nii.gz").rename(root / "labelsTr" / "Case_2.nii.gz")
        said = refused(root, *TINY_VNET)
        assert "labelsTr/Case_2.nii.gz: is the label of no case, so it is not used. Rename it case_2.nii.gz" in said

    def test_no_training_case(self, make_folder, refused):
        root = make_folder(cases=("a",), table="case,split\na,test\n")
        assert "has no training case. Mark some as 'train' in cases.csv." in refused(root, *TINY_VNET)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--network", "VNet", "--patch", 17, 16, 30],
                "--patch: 17 16 30 does not fit VNet. The nearest that fits is --patch 16 16 32.",
            ),
            (
                ["--patch", 16, 16],
                "--patch: must have 3 positive values, got 16 16. Give one side for each of the 3 axes.",
            ),
            (["--patch", 16], "--patch: must have 3 positive values, got 16"),
            (["--patch", 16, 16, -16], "--patch: must have 3 positive values, got 16 16 -16"),
            (["--patch", 16, 16, 16, "--dimensions", 2], "--patch: must have 2 positive values, got 16 16 16."),
            (["--spacing", 1, 1], "--spacing: is 1 1. Give 3 positive numbers in mm"),
            (["--spacing", 1, 1, 0], "--spacing: is 1 1 0. Give 3 positive numbers in mm"),
            (["--iterations", 0], "--iterations: must be 1 or more, got 0."),
            (["--initial_iterations", 2], "--initial_iterations: Supervised starts from the labels that there are."),
            (["--checkpoint_every", 0], "--checkpoint_every: must be 1 or more, got 0."),
            (["--seed", -1], "--seed: must be 0 or more, got -1."),
            (["--foreground", 1.5], "--foreground: must be a share from 0 to 1, got 1.5."),
            (["--devices", 0], "--devices: is 0. Give 1 or more."),
            (["--expert", 1, "--noisy", -1], "batch: it would hold"),
            (
                ["--network", "SegResNet", "--network.norm", "nrom"],
                "--network: cannot be built (By 'NROM', did you mean",
            ),
        ],
    )
    def test_arguments_that_do_not_suit_the_data(self, make_folder, refused, monkeypatch, arguments, message):
        def load(case, folder):
            raise AssertionError("checks come before any work")

        monkeypatch.setattr(cache_module, "load_case", load)
        monkeypatch.setattr("segmend.data.fingerprint.load_case", load)
        assert message in refused(make_folder(table=QUALITIES), *arguments)

    def test_three_dimensions_of_pictures(self, make_folder, refused):
        root = make_folder(shape=(20, 20), ending=".png")
        assert "--dimensions: must be 2, since the images are two-dimensional, got 3. Leave it out." in refused(
            root, "--dimensions", 3
        )

    def test_pictures_among_volumes(self, make_folder, refused, write_scan):
        root = make_folder()
        flat = np.ones((20, 20), dtype=np.float32)
        write_scan(root / "imagesTr" / "case_2_0000.nii.gz", flat, np.eye(4))
        message = refused(root, *TINY_UNET)
        assert "case_2_0000.nii.gz: is two-dimensional, but case_3_0000.nii.gz is three-dimensional" in message

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--method", "PLLI"], "--method: there is no 'PLLI'. Did you mean PLIL"),
            (["--method=PLLI"], "--method: there is no 'PLLI'. Did you mean PLIL"),
            (["--network", "Unet"], "--network: there is no 'Unet'. Did you mean UNet or"),
            (["--method", "PLIL", "--method.pases", 2], "PLIL has no argument 'pases'. Did you mean passes?"),
            (["--network", "VNet", "--network.wdth", 2], "VNet has no argument 'wdth'. Did you mean width?"),
            (["--iteration", 2], "there is no argument --iteration. Did you mean --iterations"),
            (["--augmentation.rotations", 2], "Did you mean --augmentation.rotation"),
            (["--iterations", "many"], "--iterations must be a whole number, got 'many'."),
            (["--precision", "16"], "--precision must be auto, 32 or bf16, got '16'. Choose from auto, 32, bf16."),
            (["--spacing", "nativ"], "--spacing must be native, auto or numbers, got 'nativ'."),
            (["--augmentation.zoom", 2], "augmentation.zoom: 2.0 is not usable. Give a number from 0 to below 1."),
            (
                ["--optimisation.learning_rate", 0],
                "optimisation.learning_rate: 0.0 is not usable. Give a number above 0.",
            ),
        ],
    )
    def test_misspelt(self, make_folder, refused, arguments, message):
        assert message in refused(make_folder(), *arguments, status=2)

    @pytest.mark.parametrize("name", ["imagesTr/case_3_0000.nii.gz", "labelsTr/case_3.nii.gz"])
    def test_a_file_that_cannot_be_read_is_named_before_anything_is_trained(self, make_folder, refused, name):
        root = make_folder()
        (root / name).write_bytes((root / name).read_bytes()[:-50])
        assert f"{root / name}: cannot be read" in refused(root, *TINY_UNET)

    def test_so_is_one_of_the_validation_split(self, make_folder, refused):
        root = make_folder(table="case,split\ncase_3,val\n")
        (root / "labelsTr" / "case_3.nii.gz").write_bytes(b"")
        assert "labelsTr/case_3.nii.gz: cannot be read" in refused(root, *TINY_UNET)

    def test_a_link_that_leads_nowhere(self, make_folder, refused):
        root = make_folder(channels=("T1", "T2"))
        (root / "imagesTr" / "case_3_0001.nii.gz").unlink()
        (root / "imagesTr" / "case_3_0001.nii.gz").symlink_to(root / "nowhere")
        assert "case_3_0001.nii.gz: does not exist" in refused(root, *TINY_UNET)

    def test_from_python_it_is_an_exception(self, make_folder, tmp_path):
        with raises("invalid-value", "patch", match="3 positive values, got 3 3"):
            segmend.train(data=make_folder(), method=PLIL, out=tmp_path / "run", expert=0, noisy=1, patch=[3, 3])


def segmend_label(path):
    from segmend.data.image import read_label

    return read_label(path)


def _nothing(method):
    return {"nothing": 0 * sum(parameter.sum() for parameter in method.parameters())}


class TestRecipe:
    PAPER = ("--recipe", "paper", "--network", "VNet", "--network.width", 2, "--patch", 16, 16, 16, "--iterations", 1)

    def test_paper_is_the_protocol_of_the_literature_and_arguments_win(self, make_folder, train):
        run = train(make_folder(shape=SHAPE), *self.PAPER, "--optimisation.clip", 3, "--augmentation.flips", "false")
        optimisation, augmentation = run.config["optimisation"], run.config["augmentation"]
        assert run.config["recipe"] == "paper"
        assert run.config["iterations"] == 1
        assert run.config["foreground"] == 0
        assert optimisation["clip"] == 3
        assert {optimisation[name] for name in ("optimiser", "learning_rate", "momentum")} == {"sgd", 0.01, 0.9}
        assert (augmentation["quarter_turns"], augmentation["flips"], augmentation["rotation"]) == (True, False, 0)

    def test_an_argument_wins_also_where_it_is_the_default_or_stands_in_a_file(self, make_folder, train, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("recipe: paper\noptimisation:\n  learning_rate: 0.02\n")
        run = train(make_folder(shape=SHAPE), *self.PAPER[2:], "--config", file, "--foreground", 0.33)
        assert run.config["foreground"] == 0.33
        assert (run.config["optimisation"]["optimiser"], run.config["optimisation"]["learning_rate"]) == ("sgd", 0.02)

    def test_has_its_own_network(self, make_folder, tmp_path, monkeypatch):
        monkeypatch.setattr("segmend.engine.recipes.VNet", partial(VNet, width=2))
        root = make_folder(shape=SHAPE)
        run = segmend.train(root, tmp_path / "run", recipe="paper", iterations=1, cache=tmp_path / "cache")
        assert isinstance(run.method().network, VNet)
        assert run.plan is None

    def test_unknown(self, make_folder, tmp_path, capsys):
        root = make_folder()
        assert main(["train", "--data", str(root), "--out", str(tmp_path / "run"), "--recipe", "papr"]) == 2
        assert "planned" in capsys.readouterr().err
        with raises("unknown-name", "recipe"):
            segmend.train(root, tmp_path / "run", recipe="papr")
