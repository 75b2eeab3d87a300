from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from segmend.cli import main
from segmend.commands.export_labels import export_labels
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label
from segmend.engine import initial_labels as module
from segmend.engine.initial_labels import with_initial_labels
from segmend.engine.learner import Learner
from segmend.engine.run import Run

pytestmark = pytest.mark.usefixtures("cpu_only")

TOY = """
import os
from pathlib import Path
from torch.nn import functional as F
from segmend.core.batch import Composition
from segmend.core.masks import IGNORE
from segmend.methods import Method, Revision

class Toy(Method):
    '''Starts from labels of all cases; of every scan, calls object what is the likeliest: 80 %, later 60 %.'''

    kind, needs, layers, needs_initial_labels = "noisy", Composition(noisy=2), ("revised",), True

    def loss(self, batch, step):
        if "WITNESS" in os.environ:
            with Path(os.environ["WITNESS"], os.environ.get("LOCAL_RANK", "0")).open("a") as file:
                for case, label in zip(batch.cases, batch.layers["revised"]):
                    print(step.index, case, int(label.sum()), file=file)
        return {"revised": F.cross_entropy(self.network(batch.image), batch.layers["revised"], ignore_index=IGNORE)}

    def revises(self, step):
        return step.index in (2, 4)

    def revise(self, cases, step):
        for case in cases:
            probability = case.predict_map(self.predict)[1]
            yield Revision(case.name, {"revised": (probability > probability.quantile(step.index / 10)).byte()})
"""
TABLE = "case,quality,domain\ncase_1,expert,A\ncase_2,none,B\ncase_3,none,B\n"
TINY = (
    "--network",
    "UNet",
    "--network.width",
    "2",
    "--network.stages",
    "2",
    "--patch",
    "8",
    "8",
    "8",
    "--spacing",
    "2",
)
TINY += ("2", "2", "--iterations", "6", "--initial_iterations", "4", "--checkpoint_every", "2")


@pytest.fixture(autouse=True)
def _toy(monkeypatch, tmp_path):
    """The toy is importable here and in other processes."""
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path / "toys")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "toys"), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def root(make_folder):
    """One labelled case; of the others, one has a label that must not be seen."""
    return make_folder(table=TABLE, unlabelled=("case_3",))


@pytest.fixture
def words(root, tmp_path):
    def make(out, *arguments, method="toy.Toy"):
        places = ["--data", str(root), "--out", str(tmp_path / out), "--cache", str(tmp_path / "cache")]
        return ["train", "--method", method, *places, *TINY, *map(str, arguments)]

    return make


@pytest.fixture
def train(words, tmp_path):
    def call(out="run", *arguments):
        assert main(words(out, *arguments)) == 0
        return Run(tmp_path / out)

    return call


def state_of(run):
    return torch.load(run.last, weights_only=True)["state_dict"]


def labels_of(run):
    files = sorted([*run.initial_labels.iterdir(), *run.labels.rglob("*.npy")])
    return {str(file.relative_to(run.path)): file.read_bytes() for file in files}


def assert_same(one, other):
    torch.testing.assert_close(state_of(one), state_of(other), rtol=0, atol=0)
    assert labels_of(one) == labels_of(other)


def test_cases_are_noisy_once_they_are_labelled(root):
    folder = DataFolder.open(root)
    one, two, three = with_initial_labels(folder.cases, Run(Path("run")), ".nii.gz", unlabelled=True, partial=True)
    assert one == folder.cases[0]
    assert two.label == Path("run/initial_labels/case_2.nii.gz")
    assert [case.quality for case in (one, two, three)] == ["expert", "noisy", "noisy"]
    assert three.domain == "B"


def test_partly_annotated_cases_keep_their_quality(make_folder):
    table = "case,quality,annotated\ncase_1,expert,liver\ncase_2,noisy,\ncase_3,none,liver\n"
    root = make_folder("partial", labels={"background": 0, "liver": 1, "spleen": 2}, table=table)
    cases = DataFolder.open(root).cases
    one, two, three = with_initial_labels(cases, Run(Path("run")), ".nii.gz", unlabelled=False, partial=True)
    assert (one.label, one.quality, one.annotated) == (Path("run/initial_labels/case_1.nii.gz"), "expert", None)
    assert (two, three) == cases[1:]
    assert with_initial_labels(cases, Run(Path("run")), ".nii.gz", unlabelled=False, partial=False) == cases


AS_THEY_ARE = ("--augmentation.rotation", 0, "--augmentation.zoom", 0)
"""Crops whose voxels are not interpolated."""


class StopHereError(Exception):
    """Raised where the work is to stop."""


class TestStages:
    def test_plain_training_labels_the_unlabelled_cases(self, root, train, contents, monkeypatch):
        before, seen = contents(root), []
        real = Learner.training_step
        monkeypatch.setattr(
            Learner, "training_step", lambda self, batch, index: seen.append(batch) or real(self, batch, index)
        )
        run = train()
        assert run.finished
        assert run.initial.finished
        first, second = seen[:4], seen[4:]
        assert {case for batch in first for case in batch.cases} == {"case_1"}
        assert {case for batch in second for case in batch.cases} == {"case_2", "case_3"}
        assert {quality for batch in second for quality in batch.quality} == {"noisy"}
        assert contents(root) == before
        assert sorted(file.name for file in run.initial_labels.iterdir()) == ["case_2.nii.gz", "case_3.nii.gz"]
        for case in ("case_2", "case_3"):
            label, grid = read_label(run.initial_labels / f"{case}.nii.gz")
            assert grid.matches(read_grid(root / "imagesTr" / f"{case}_0000.nii.gz"))
            assert set(np.unique(label)) <= {0, 1}

    def test_it_is_a_run_of_its_own_that_can_be_repeated(self, train, tmp_path):
        run = train()
        config = yaml.safe_load((run.path / "initial" / "config.yaml").read_text())
        assert config["method"]["class_path"] == "Supervised"
        assert config["iterations"] == 4
        assert run.config["initial_iterations"] == 4
        assert run.initial.task.preprocessing == run.task.preprocessing
        assert run.initial.task.patch == run.task.patch
        words = ["train", "--config", str(run.path / "initial" / "config.yaml"), "--out", str(tmp_path / "again")]
        assert main([*words, "--cache", str(tmp_path / "cache")]) == 0
        torch.testing.assert_close(state_of(Run(tmp_path / "again")), state_of(run.initial), rtol=0, atol=0)

    def test_a_quarter_of_the_iterations_by_default(self, train, monkeypatch):
        iterations = []
        monkeypatch.setattr(module, "fit", lambda *given: iterations.append(given[2].iterations) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train("run", "--iterations", 9, "--initial_iterations", "null")
        assert iterations == [2]

    def test_where_all_are_labelled_there_is_none(self, make_folder, words, tmp_path):
        root = make_folder("labelled")
        assert main([*words("run"), "--data", str(root)]) == 0
        assert not (tmp_path / "run" / "initial").exists()


def test_first_labels_are_the_given_ones_of_the_run(root, train, tmp_path):
    run = train()
    for revision, same in ((0, True), (2, False)):
        out = tmp_path / f"labels{revision}"
        export_labels(run=run.path, out=out, revision=revision, cache=tmp_path / "cache")
        assert sorted(file.name for file in out.iterdir()) == [f"case_{n}.nii.gz" for n in (1, 2, 3)]
        written, first = (read_label(folder / "case_2.nii.gz")[0] for folder in (out, run.initial_labels))
        assert np.array_equal(written, first) is same


class TestResume:
    def test_a_run_that_is_interrupted_in_every_stage_ends_as_if_nothing_had_happened(self, train, words, monkeypatch):
        real_step, real_write = Learner.training_step, module.write_label

        def broken_step(at):
            def training_step(self, batch, index):
                if (self.iterations, self.global_step) == at:
                    raise StopHereError
                return real_step(self, batch, index)

            return training_step

        def broken_write(path, values, like):
            if path.name == "case_3.nii.gz":
                raise StopHereError
            real_write(path, values, like)

        for place, name, broken in (
            (Learner, "training_step", broken_step((4, 3))),
            (module, "write_label", broken_write),
            (Learner, "training_step", broken_step((6, 1))),
            (Learner, "training_step", broken_step((6, 5))),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, broken)
                with pytest.raises(StopHereError):
                    main(words("parts"))
        done = []
        monkeypatch.setattr(
            Learner, "training_step", lambda self, *given: done.append(self.global_step) or real_step(self, *given)
        )
        parts = train("parts")
        assert done == [4, 5]
        assert_same(parts, train("whole"))

    @pytest.mark.slow
    def test_two_processes_see_the_labels_that_the_first_one_rewrites(self, words, tmp_path):
        """Crops hold whole scans, so that the voxels of the object can be counted."""
        witness = tmp_path / "witness"
        witness.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "segmend", *words("run", "--devices", 2, "--patch", 16, 16, 16, *AS_THEY_ARE)],
            env={**os.environ, "WITNESS": str(witness)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        run = Run(tmp_path / "run")
        assert run.finished
        assert sorted(path.name for path in run.labels.iterdir()) == ["0001", "0002"]
        seen = [line.split() for rank in "01" for line in (witness / rank).read_text().splitlines()]
        assert sorted(int(step) for step, *_ in seen) == sorted(4 * list(range(6)))
        for step, case, voxels in seen:
            if int(step) >= 2:
                label = np.load(run.labels / ("0001" if int(step) < 4 else "0002") / "revised" / f"{case}.npy")
                assert int(voxels) == label.sum() > 0


class TestErrors:
    def test_nothing_to_learn_from(self, make_folder, words, tmp_path, capsys):
        root = make_folder("empty", unlabelled=("case_1", "case_2", "case_3"))
        assert main([*words("run"), "--data", str(root)]) == 1
        assert "first labels: takes 4 labelled samples a batch, but there is no labelled" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_arguments(self, words, capsys):
        assert main(words("run", "--initial_iterations", 0)) == 1
        assert "--initial_iterations: must be 1 or more, got 0." in capsys.readouterr().err
        assert main(words("run", method="MeanTeacher")) == 1
        assert "--initial_iterations: MeanTeacher starts from the labels that there are" in capsys.readouterr().err
