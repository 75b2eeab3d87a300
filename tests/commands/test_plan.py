from __future__ import annotations

import json

import pytest
import torch
from refusals import raises

import segmend
from segmend.cli import main
from segmend.engine.planner import TrainingPlan
from segmend.engine.run import Run
from segmend.networks import PlannedUNet

pytestmark = pytest.mark.usefixtures("cpu_only", "own_cache")

QUALITIES = "case,quality\ncase_1,expert\ncase_2,expert\n"
NARROW = ("--width", "2", "--precision", "32")


@pytest.fixture
def root(make_folder):
    return make_folder(shape=(24, 20, 12), table=QUALITIES)


class TestPlan:
    def test_says_what_and_why_and_writes_it(self, root, tmp_path, capsys):
        assert main(["plan", "--data", str(root), "--out", str(tmp_path / "plan.json"), *NARROW]) == 0
        said = capsys.readouterr().err
        for entry in ("machine", "spacing", "patch", "network", "batch", "mirroring", "memory", "time"):
            assert f"\n{entry}" in f"\n{said}"
        written = json.loads((tmp_path / "plan.json").read_text())
        assert all(entry["reason"] for entry in written.values())
        assert not (tmp_path / "RUN").exists()

    def test_for_another_machine_no_step_is_timed(self, root, capsys):
        found = segmend.plan(data=root, memory=4, width=2)
        assert "time" not in found.entries
        assert found.entries["machine"].value == "as given"

    def test_a_larger_memory_gives_a_larger_patch(self, make_folder):
        root = make_folder(shape=(40, 36, 32), table=QUALITIES)
        small, large = (segmend.plan(data=root, memory=memory, width=4) for memory in (0.01, 1))
        assert torch.tensor(small.patch).prod() < torch.tensor(large.patch).prod()

    def test_a_memory_that_is_too_small(self, root):
        with raises("too-large", "memory"):
            segmend.plan(data=root, memory=1e-4)

    def test_a_patch_that_the_strides_do_not_divide(self, root):
        with raises("mismatch", "patch", match="`patch 24 24 12`"):
            segmend.plan(data=root, patch=(24, 21, 12), width=2)


class TestTrainByIt:
    def test_follows_the_plan_that_is_shown(self, root, tmp_path):
        shown = segmend.plan(data=root, memory=1, width=2, precision="32")
        run = segmend.train(data=root, out=tmp_path / "run", memory=1, width=2, iterations=2, precision="32")
        assert isinstance(run.method().network, PlannedUNet)
        assert run.task.patch == shown.patch
        assert run.task.mirroring == shown.mirroring
        assert run.plan == TrainingPlan.from_json(json.loads(json.dumps(shown.to_json())))

    def test_a_run_is_continued_by_its_own_plan_whatever_the_machine(self, root, tmp_path, capsys):
        words = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--iterations", "2", "--precision", "32"]
        assert main([*words, "--width", "2"]) == 0
        assert main([*words, "--width", "4", "--memory", "3"]) == 0
        assert "finished already" in capsys.readouterr().err
        assert Run(tmp_path / "run").plan.network["widths"][0] == 2

    def test_another_patch_is_refused(self, root, tmp_path, capsys):
        words = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--iterations", "2", *NARROW]
        assert main(words) == 0
        assert main([*words, "--patch", "8", "8", "4"]) == 1
        assert "holds a run of another configuration" in capsys.readouterr().err

    def test_slices_of_volumes(self, root, tmp_path):
        run = segmend.train(
            data=root, out=tmp_path / "run", dimensions=2, width=2, iterations=1, precision="32", memory=1
        )
        assert len(run.task.patch) == 2
        assert run.task.preprocessing.spacing[-1] is None
        assert run.predict(root / "imagesTr" / "case_1_0000.nii.gz").shape == (24, 20, 12)
