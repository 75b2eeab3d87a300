from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from refusals import raises

import segmend
from segmend.cli import main
from segmend.engine.learner import Optimisation
from segmend.engine.plan import TrainingPlan
from segmend.engine.run import Run
from segmend.methods import Supervised
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
        sampled = ("patch", "batch", "mirroring", "augmentation", "foreground")
        for entry in ("machine", "spacing", "network", *sampled, "memory", "time"):
            assert f"\n{entry}" in f"\n{said}"
        written = json.loads((tmp_path / "plan.json").read_text())
        assert all(entry["reason"] for entry in written.values())
        assert not (tmp_path / "RUN").exists()

    def test_names_all_of_a_training(self, root):
        found = segmend.plan(data=root, method="Supervised", width=2, memory=1, iterations=7).entries
        assert found["loss"].value == "ce_dice"
        assert found["optimiser"].value == {"name": "adamw", "learning rate": 0.001, "weight decay": 0.0001}
        assert (found["schedule"].value, found["clipping"].value) == ("poly", "none")
        assert (found["steps"].value, found["steps"].reason) == (7, "as given")
        assert (found["validation"].value, found["normalisation"].value) == ("none", "instance norm")
        assert "last checkpoint" in found["validation"].reason
        assert list(found["intensities"].value.values()) == ["z-score"]

    def test_says_what_was_given(self, make_folder):
        table = "case,quality,split\ncase_1,expert,train\ncase_2,expert,train\ncase_3,expert,val\n"
        root = make_folder(shape=(24, 20, 12), table=table)
        given = Optimisation("sgd", 0.02, momentum=0.99, nesterov=True, schedule="step", clip=12)
        supervised = partial(Supervised, deep_supervision=True, loss="gce")
        found = segmend.plan(data=root, method=supervised, width=2, memory=1, optimisation=given).entries
        assert found["loss"].value == "gce, deep supervision"
        assert found["optimiser"].value["momentum"] == 0.99
        assert found["optimiser"].value["nesterov"] is True
        assert found["optimiser"].reason == "as given"
        assert (found["schedule"].value, found["clipping"].value) == ("step", 12)
        assert found["validation"].value == "1 case"
        assert "case_3" in found["validation"].reason

    def test_of_the_papers_recipe(self, root, capsys):
        words = [
            "plan",
            "--data",
            str(root),
            "--recipe",
            "paper",
            "--memory",
            "1",
            "--optimisation.learning_rate",
            "0.1",
        ]
        assert main(words) == 0
        said = capsys.readouterr().err
        assert "VNet (recipe paper)" in said
        assert "sgd, learning rate 0.1, momentum 0.9, nesterov false, weight decay 0.0001 (as given)" in said
        assert "8000 (recipe paper)" in said

    def test_residual_is_of_the_planned_network(self, root, tmp_path):
        assert segmend.plan(data=root, memory=1, width=2, residual=True).network["residual"] is True
        with raises("mismatch", "residual"):
            segmend.train(root, tmp_path / "run", network="VNet", residual=True)
        with raises("mismatch", "residual"):
            segmend.plan(data=root, recipe="paper", residual=True)

    def test_names_classes_that_are_too_rare(self, make_folder, write_scan, capsys):
        """Twelve voxels of the tumour in each of three labels are 36 in all."""
        root = make_folder(shape=(24, 20, 12), labels={"background": 0, "organ": 1, "tumour": 2})
        for case in (1, 2, 3):
            label = np.zeros((24, 20, 12), dtype=np.uint8)
            label[4:12, 4:12, 4:8] = 1
            label[14:16, 4:7, 4:6] = 2
            write_scan(root / "labelsTr" / f"case_{case}.nii.gz", label, np.diag([1.0, 1.0, 1.5, 1.0]))
        assert main(["plan", "--data", str(root), "--width", "2", "--memory", "1"]) == 0
        said = capsys.readouterr().err
        assert "'tumour' has 36 voxels in the 3 training labels" in said
        assert "'organ' has" not in said

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
        shown = segmend.plan(data=root, memory=1, width=2, iterations=2, precision="32")
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

    def test_a_plan_of_an_earlier_version_is_followed(self, root, tmp_path, capsys):
        words = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--iterations", "2", *NARROW]
        assert main(words) == 0
        file = tmp_path / "run" / "plan.json"
        earlier = (
            "machine",
            "spacing",
            "patch",
            "network",
            "batch",
            "mirroring",
            "augmentation",
            "foreground",
            "memory",
        )
        written = json.loads(file.read_text())
        assert {"loss", "optimiser", "time", "validation"} < set(written)
        file.write_text(json.dumps({name: written[name] for name in earlier}))
        assert main(words) == 0
        assert "finished already" in capsys.readouterr().err

    def test_another_encoder_is_refused(self, root, tmp_path, capsys):
        words = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--iterations", "2", *NARROW]
        assert main([*words, "--residual", "true"]) == 0
        assert Run(tmp_path / "run").config["network"]["init_args"]["residual"] is True
        assert main([*words, "--residual", "false"]) == 1
        assert "holds a run of another configuration" in capsys.readouterr().err

    def test_another_patch_is_refused(self, root, tmp_path, capsys):
        words = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--iterations", "2", *NARROW]
        assert main(words) == 0
        assert main([*words, "--patch", "8", "8", "4"]) == 1
        assert "holds a run of another configuration" in capsys.readouterr().err

    def test_samples_are_drawn_and_varied_by_the_plan_unless_arguments_say_otherwise(self, root, tmp_path):
        words = ["train", "--data", str(root), "--iterations", "2", *NARROW, "--memory", "1"]
        assert main([*words, "--out", str(tmp_path / "planned")]) == 0
        planned = Run(tmp_path / "planned")
        assert planned.config["augmentation"]["occasional"] is True
        assert planned.config["augmentation"]["across_slices"] is True
        assert planned.config["foreground_by"] == "class"
        own = ["--augmentation.occasional", "false", "--augmentation.gamma", "0.2", "--foreground_by", "voxel"]
        assert main([*words, *own, "--out", str(tmp_path / "own")]) == 0
        given = Run(tmp_path / "own")
        assert given.config["augmentation"]["rotation"] == 15.0
        assert given.config["augmentation"]["gamma"] == 0.2
        assert given.config["foreground_by"] == "voxel"
        assert given.plan.entries["augmentation"].reason == given.plan.entries["foreground"].reason == "as given"
        assert given.plan.entries["augmentation"].value["gamma"] == 0.2
        assert main([*words, *own, "--out", str(tmp_path / "own")]) == 0  # it is that of the run

    def test_a_run_of_an_older_version_is_still_of_its_configuration(self, root, tmp_path, capsys):
        words = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--iterations", "2", *NARROW]
        words += ["--augmentation.noise", "0.2", "--foreground_by", "voxel"]
        assert main(words) == 0
        file = tmp_path / "run" / "config.yaml"
        new = {"gamma", "blur", "low_resolution", "tilt", "across_slices", "occasional"}
        lines = [line for line in file.read_text().splitlines() if line.strip().partition(":")[0] not in new]
        file.write_text("\n".join(lines))
        assert main(words) == 0
        assert "finished already" in capsys.readouterr().err

    def test_slices_of_volumes(self, root, tmp_path):
        run = segmend.train(
            data=root, out=tmp_path / "run", dimensions=2, width=2, iterations=1, precision="32", memory=1
        )
        assert len(run.task.patch) == 2
        assert run.task.preprocessing.spacing[-1] is None
        assert run.predict(root / "imagesTr" / "case_1_0000.nii.gz").shape == (24, 20, 12)
