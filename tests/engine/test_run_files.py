"""Damaged run folders: each damage is named in a line, and nothing is run or written."""

from __future__ import annotations

import copy
import json
import os
import shutil
import zipfile

import pytest
import torch
import yaml
from refusals import raises

from segmend.cli import main
from segmend.demo.phantom import write_phantoms
from segmend.engine.run import Run

GONE = object()
STEPS = 4


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small data folder and a run that was stopped before its end."""
    root = tmp_path_factory.mktemp("base")
    write_phantoms(root / "data", train=2, test=1, shape=(20, 24, 16))
    network = ["--network", "UNet", "--network.width", "2", "--network.stages", "2", "--patch", "16", "16", "16"]
    words = ["--method", "Supervised", "--iterations", str(STEPS), "--cache", str(root / "cache")]
    words += ["--optimisation.optimiser", "adamw", "--checkpoint_every", "2"]
    assert main(["train", "--data", str(root / "data"), "--out", str(root / "run"), *network, *words]) == 0
    (root / "run" / "summary.json").unlink()
    return root


@pytest.fixture
def run(base, tmp_path):
    shutil.copytree(base / "run", tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture
def refused(base, run, tmp_path, capsys, contents):
    """Makes sure that predict refuses the run with a message, and leaves everything as it is."""

    def refused(*expected: str) -> str:
        before = contents(run.path)
        out, images = str(tmp_path / "out"), str(base / "data" / "imagesTs")
        assert main(["predict", "--run", str(run.path), "--images", images, "--out", out]) == 1
        printed = " ".join(capsys.readouterr().err.split())
        for part in expected:
            assert part in printed
        assert "Traceback" not in printed
        assert not (tmp_path / "out").exists()
        assert contents(run.path) == before
        return printed

    return refused


@pytest.fixture
def not_continued(base, run, capsys):
    """Makes sure that train refuses to continue the run."""

    def not_continued(*expected: str) -> None:
        words = ["--config", str(run.path / "config.yaml"), "--out", str(run.path), "--cache", str(base / "cache")]
        assert main(["train", *words]) == 1
        printed = " ".join(capsys.readouterr().err.split())
        for part in ("last.ckpt: is damaged", *expected):
            assert part in printed
        assert not (run.path / "summary.json").exists()

    return not_continued


def changed(content, place, value):
    content = copy.deepcopy(content)
    part = content
    for key in place[:-1]:
        part = part[key]
    if value is GONE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return content


class TestConfiguration:
    @pytest.mark.parametrize(
        ("place", "value", "problem"),
        [
            (("method",), None, "has no class_path"),
            (("method",), {}, "has no class_path"),
            (("method",), [], "has no class_path"),
            (("method", "class_path"), GONE, "has no class_path"),
            (("method", "class_path"), 7, "has no class_path"),
            (("method", "class_path"), "os.system", "class_path 'os.system' is not known"),
            (("method", "class_path"), "subprocess.Popen", "is not a Method"),
            (("method", "init_args"), [1], "no mapping of names to values"),
            (("method", "init_args"), {"x": 1}, "cannot be built"),
            (("network",), "UNet", "has no class_path"),
            (("network", "class_path"), "segmend.methods.PLIL", "is not a Network"),
            (("network", "init_args", "width"), -1, "must be a whole number from 1"),
            (("network", "init_args", "width"), 0, "must be a whole number from 1"),
            (("network", "init_args", "width"), "many", "must be a whole number from 1"),
            (("network", "init_args", "width"), True, "must be a whole number from 1"),
            (("network", "init_args", "width"), 2**16, "GiB are free"),
            (("network", "init_args", "stages"), 10**6, "must be a whole number from 1 to 10"),
            (("data",), 5, "data is no path"),
        ],
    )
    def test_each_part(self, run, refused, place, value, problem):
        file = run.path / "config.yaml"
        file.write_text(yaml.safe_dump(changed(yaml.safe_load(file.read_text()), place, value)))
        refused("config.yaml", problem)

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xfe", b"[" * 20000, b"a: b: c", b"- a", b"a: !!python/name:os.system"]
    )
    def test_as_a_whole(self, run, refused, content):
        (run.path / "config.yaml").write_bytes(content)
        refused("config.yaml: is not the configuration of a run")

    def test_of_a_network_of_another_width(self, run, refused):
        file = run.path / "config.yaml"
        file.write_text(yaml.safe_dump(changed(yaml.safe_load(file.read_text()), ("network", "init_args", "width"), 4)))
        refused("last.ckpt: is damaged or of another configuration")

    @pytest.mark.parametrize("command", ["cite", "export-labels"])
    def test_of_a_run_that_other_commands_read(self, run, tmp_path, capsys, command):
        file = run.path / "config.yaml"
        file.write_text(yaml.safe_dump(changed(yaml.safe_load(file.read_text()), ("method",), None)))
        out = ["--out", str(tmp_path / "out")] if command == "export-labels" else []
        assert main([command, "--run", str(run.path), *out]) == 1
        assert "config.yaml: is damaged" in " ".join(capsys.readouterr().err.split())


class TestTask:
    @pytest.mark.parametrize(
        ("part", "value"),
        [
            ("labels", "text"),
            ("labels", ["background", "organ"]),
            ("labels", {"background": 0}),
            ("labels", {"background": 0, "organ": "1"}),
            ("labels", {"background": 0, "organ": 1.5}),
            ("labels", {"background": 0, "organ": 0}),
            ("labels", {"organ": 1, "background": 0}),
            ("labels", {"background": 0, "a\0b": 1}),
            ("patch", 15),
            ("patch", [16, 16]),
            ("patch", [15, 15, 15]),
            ("patch", [16, 16, 0]),
            ("patch", [True, 16, 16]),
            ("patch", "text"),
            ("patch", [3000, 3000, 3000]),
            ("patch", GONE),
            ("spacing", [0, 1, 1]),
            ("spacing", [float("nan"), 1, 1]),
            ("spacing", [-1, 1, 1]),
            ("spacing", [1e-9, 1, 1]),
            ("spacing", [1]),
            ("spacing", "text"),
            ("dimensions", 7),
            ("dimensions", "3"),
            ("dimensions", 2),
            ("normalisations", []),
            ("normalisations", "text"),
            ("normalisations", [[1, 2]]),
            ("normalisations", [["a", 1, 1, 1]]),
            ("normalisations", [[None, None, None, -1]]),
            ("normalisations", [[None, None, None, float("inf")]]),
            ("channel_names", []),
            ("channel_names", "MR"),
            ("channel_names", ["a", "b"]),
            ("channel_names", [5]),
            ("foreground_only", "no"),
            ("slice_axis", 5),
            ("fingerprint", 3),
        ],
    )
    def test_each_part(self, run, refused, part, value):
        file = run.path / "task.json"
        file.write_text(json.dumps(changed(json.loads(file.read_text()), (part,), value)))
        refused("task.json: is damaged (")

    @pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b"{}", b"null", b'{"a": ' + b"9" * 5000 + b"}"])
    def test_as_a_whole(self, run, refused, content):
        (run.path / "task.json").write_bytes(content)
        refused("task.json: is damaged (")

    def test_a_scan_that_would_not_fit_into_memory_at_the_spacing(self, run, refused):
        file = run.path / "task.json"
        file.write_text(json.dumps(changed(json.loads(file.read_text()), ("spacing",), [0.001] * 3)))
        checkpoint = torch.load(run.last, weights_only=True)
        del checkpoint["callbacks"]  # which says that it belongs to another task
        torch.save(checkpoint, run.last)
        refused("0.001 x 0.001 x 0.001 mm", "GiB are free")


def weight(checkpoint):
    """The first weights in a checkpoint."""
    return next(name for name, value in checkpoint["state_dict"].items() if value.is_floating_point())


class TestWeights:
    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (torch.full((2, 1, 3, 3, 3), torch.nan), "are not finite"),
            (torch.full((2, 1, 3, 3, 3), torch.inf), "are not finite"),
            (torch.ones(3), "have the shape 3, but the configuration wants 2x1x3x3x3"),
            (torch.ones(1).expand(10**5, 10**5), "claim to be larger than the file"),
            (torch.ones(2, 1, 3, 3, 3).to_sparse(), "last.ckpt: is damaged"),
            ("text", "is not what it should be"),
            (GONE, "lacks weights"),
        ],
    )
    def test_that_cannot_be_used(self, run, refused, not_continued, value, problem):
        checkpoint = torch.load(run.last, weights_only=True)
        torch.save(changed(checkpoint, ("state_dict", weight(checkpoint)), value), run.last)
        refused("last.ckpt: is damaged or of another configuration", problem)
        not_continued(problem.removeprefix("last.ckpt: "))

    def test_that_nobody_knows(self, run, refused):
        checkpoint = torch.load(run.last, weights_only=True)
        torch.save(changed(checkpoint, ("state_dict", "more"), torch.ones(1)), run.last)
        refused("has the unknown weights 'more'")

    def test_that_cannot_judge_labels(self, base, run, tmp_path, capsys):
        checkpoint = torch.load(run.last, weights_only=True)
        first = weight(checkpoint)
        checkpoint["state_dict"][first] = checkpoint["state_dict"][first] * torch.nan
        torch.save(checkpoint, run.last)
        out = tmp_path / "audit"
        assert main(["audit", "--data", str(base / "data"), "--run", str(run.path), "--out", str(out)]) == 1
        assert "are not finite" in capsys.readouterr().err
        assert not out.exists()

    def test_of_another_run(self, run, refused, not_continued):
        checkpoint = torch.load(run.last, weights_only=True)
        torch.save(changed(checkpoint, ("callbacks", "Checkpoints", "run"), "another"), run.last)
        refused("belongs to another run")
        not_continued("belongs to another run")


class TestFile:
    @pytest.mark.parametrize("keep", [0, 0.5, -1000])
    def test_cut(self, run, refused, not_continued, keep):
        content = run.last.read_bytes()
        run.last.write_bytes(content[: int(keep * len(content)) if keep >= 0 else keep])
        refused("last.ckpt: is damaged or of another configuration")
        not_continued("Delete it to start again")

    def test_with_a_flipped_bit(self, run, refused, not_continued):
        content = bytearray(run.last.read_bytes())
        with zipfile.ZipFile(run.last) as file:  # between its parts there is padding, in which no bit matters
            largest = file.read(max(file.infolist(), key=lambda part: part.file_size))
        content[content.index(largest) + len(largest) // 2] ^= 1
        run.last.write_bytes(content)
        refused("last.ckpt: is damaged or of another configuration")
        not_continued()

    @pytest.mark.parametrize("make", [os.mkdir, lambda path: path.symlink_to("nowhere")])
    def test_that_is_none(self, run, not_continued, make):
        run.last.unlink()
        make(run.last)
        with raises("damaged", "last.ckpt", match="it is not a file"):
            run.method()
        not_continued("it is not a file")

    def test_of_objects_that_name_code(self, run, refused, not_continued, tmp_path):
        torch.save({"state_dict": {"a": Trap(tmp_path / "sprung")}}, run.last)
        refused("last.ckpt: is damaged")
        not_continued()
        assert not (tmp_path / "sprung").exists()


COUNTED = ("loops", "fit_loop", "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total")


class TestContinuing:
    @pytest.mark.parametrize(
        ("place", "value", "problem"),
        [
            (("state_dict",), GONE, "state_dict"),
            (("optimizer_states",), GONE, "'optimizer_states'"),
            (("optimizer_states",), [], "'optimizer_states'"),
            (("optimizer_states", 0, "param_groups"), [], "'optimizer_states'"),
            (("optimizer_states", 0, "param_groups", 0, "betas"), GONE, "'optimizer_states'"),
            (("optimizer_states", 0, "param_groups", 0, "lr"), "x", "'optimizer_states'"),
            (("optimizer_states", 0, "state", 0, "exp_avg"), torch.ones(2), "of other weights"),
            (("optimizer_states", 0, "state", 0, "exp_avg"), torch.full((2, 1, 3, 3, 3), torch.nan), "not finite"),
            (("loops",), GONE, "'loops'"),
            (("loops",), {}, "'loops'"),
            (("loops", "fit_loop"), {}, "'loops'"),
            (("loops", "fit_loop", "epoch_loop.batch_progress"), None, "'loops'"),
            ((*COUNTED, "completed"), 1, "counts 1 steps in one place"),
            (("global_step",), GONE, "'global_step'"),
            (("global_step",), "x", "'global_step'"),
            (("global_step",), -1, f"step -1 of {STEPS}"),
            (("global_step",), 10**9, f"of {STEPS}"),
            (("lr_schedulers",), GONE, "'lr_schedulers'"),
            (("lr_schedulers",), [{}], "learning rate"),
            (("lr_schedulers", 0, "base_lrs"), ["x"], "learning rate"),
            (("callbacks",), GONE, "'callbacks'"),
            (("callbacks", "Checkpoints", "best"), "x", "'callbacks'"),
            (("callbacks", "Checkpoints", "remaining"), 5, "'callbacks'"),
            (("epoch",), "x", "'epoch'"),
            (("pytorch-lightning_version",), GONE, "'pytorch-lightning_version'"),
            (("pytorch-lightning_version",), "x", "'pytorch-lightning_version'"),
        ],
    )
    def test_takes_a_whole_checkpoint(self, run, not_continued, place, value, problem):
        torch.save(changed(torch.load(run.last, weights_only=True), place, value), run.last)
        not_continued(problem)

    @pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}"])
    def test_a_damaged_summary_is_written_anew(self, base, run, content):
        (run.path / "summary.json").write_bytes(content)
        words = ["--config", str(run.path / "config.yaml"), "--out", str(run.path), "--cache", str(base / "cache")]
        assert main(["train", *words]) == 0
        assert Run(run.path).summary["iterations"] == STEPS
