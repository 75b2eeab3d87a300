from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import raises
from written_networks import Logistic

from segmend.core.batch import Composition
from segmend.core.case import Case, Quality, Split
from segmend.core.signals import Stopped
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL
from segmend.data.cache import PreparedCase
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.data.sampling import BatchPlan
from segmend.engine import fit as training
from segmend.engine.fit import Training, fit
from segmend.engine.hardware import Hardware
from segmend.engine.learner import Optimisation
from segmend.engine.run import Run, Task
from segmend.methods import Method

pytestmark = pytest.mark.usefixtures("cpu_only")

CONSTANT = Optimisation(optimiser="sgd", learning_rate=0.1, weight_decay=0.0, schedule="constant")


class Pull(Method):
    """Pulls the weight down with a constant force, or does what a test wants at some step."""

    kind = "supervised"
    needs = Composition(noisy=1)

    def __init__(self, network, at=-1, event=None):
        super().__init__(network)
        self.at, self.event, self.calls = at, event, []
        self.register_buffer("followed", torch.zeros(()))

    def loss(self, batch, step):
        self.calls.append(("loss", step.index, step.total, self.network.training, batch.cases))
        force = self.event() if step.index == self.at else 1.0
        return {"force": force * self.network.theta.sum()}

    def after_step(self, step):
        self.calls.append(("after", step.index))
        self.followed += 1


def make_case(name, split=Split.TRAIN):
    image = np.random.default_rng(len(name)).normal(size=(1, 8, 8)).astype(np.float32)
    label = (image[0] > 0).astype(np.uint8)
    return PreparedCase(
        Case(name, (), None, split, Quality.NOISY), image, label, np.argwhere(label), name, (1.0, 1.0, 1.0)
    )


def training_of(validation=(), **changes):
    cases = [make_case("a"), make_case("bb")]
    preprocessing = Preprocessing((None, None), (Normalisation(),))
    training = Training(
        cases=cases,
        validation=list(validation),
        plan=BatchPlan.of([case.case for case in cases], Composition(noisy=1), 0, "test"),
        task=Task(("MR",), {"background": 0, "organ": 1}, 2, (4, 4), preprocessing, "digest"),
        augmentation=LEFT_ATRIUM_PROTOCOL,
        foreground=0.0,
        optimisation=CONSTANT,
        iterations=5,
        seed=0,
        checkpoint_every=2,
    )
    return replace(training, **changes)


@pytest.fixture
def trained(tmp_path):
    """Trains in the same run folder at every call; gives run and method."""

    def train(method=None, hardware=None, **changes):
        hardware = hardware or Hardware(precision="32")
        method = method or Pull(Logistic(1, 2, theta=1.0))
        run = Run(tmp_path / "run")
        fit(run, method, training_of(**changes), hardware)
        return run, method

    return train


def step_of(file):
    return torch.load(file, weights_only=True)["global_step"]


class TestFit:
    def test_the_weight_moves_as_calculated(self, trained):
        """With v <- 0.9 v + 1 and w <- w - 0.1 (1 - t / 3)^0.9 v."""
        optimisation = replace(CONSTANT, schedule="poly")
        _, method = trained(optimisation=optimisation, iterations=3)
        expected = 1 - 0.1 * (1 * 1.0 + (2 / 3) ** 0.9 * 1.9 + (1 / 3) ** 0.9 * 2.71)
        assert method.network.theta.item() == pytest.approx(expected, abs=1e-6)

    def test_the_gradient_is_clipped(self, trained):
        optimisation = replace(CONSTANT, learning_rate=1.0, momentum=0.0, clip=0.25)
        _, method = trained(optimisation=optimisation, iterations=2)
        assert method.network.theta.item() == pytest.approx(0.5, abs=1e-5)

    def test_the_method_is_called_once_a_step(self, trained):
        _, method = trained()
        assert [entry[:2] for entry in method.calls] == [
            (name, step) for step in range(5) for name in ("loss", "after")
        ]
        losses = method.calls[::2]
        assert all(total == 5 and training for _, _, total, training, _ in losses)
        assert {cases[0] for *_, cases in losses} == {"a", "bb"}

    def test_checkpoints_hold_what_followed_the_weights(self, trained):
        run, method = trained(validation=[make_case("v", Split.VAL)], iterations=2)
        for file in (run.best, run.last):
            state = torch.load(file, weights_only=True)["state_dict"]
            assert state["method.followed"] == 2
            assert state["method.network.theta"] == method.network.theta

    def test_what_is_left_behind(self, trained):
        run, _ = trained()
        names = {path.name for path in run.path.iterdir()}
        assert names == {"checkpoints", "curves.png", "log.csv", "summary.json", "tensorboard"}
        assert [path.name for path in run.last.parent.iterdir()] == ["last.ckpt"]
        assert step_of(run.last) == 5
        summary = json.loads((run.path / "summary.json").read_text())
        assert (summary["method"], summary["iterations"], summary["parameters"]) == ("Pull", 5, 1)
        assert summary["data_fingerprint"] == "digest"
        assert summary["seconds"] > 0
        assert summary["peak_memory_bytes"] > 2**20
        assert torch.__version__.startswith(summary["versions"]["torch"])

    def test_validation_scores_the_prediction(self, trained):
        validation = [make_case("v", Split.VAL), make_case("ww", Split.VAL)]
        optimisation = replace(CONSTANT, learning_rate=0.25, momentum=0.0)
        run, method = trained(validation=validation, optimisation=optimisation, iterations=8)
        # Positive weights find the very voxels above 0; at 1 - 4 * 0.25 = 0 nothing is found any more.
        rows = {int(step): float(dice) for step, dice in _log(run, "step", "val_dice") if dice}
        assert rows[2] == 1.0
        assert rows[4] == 0.0
        assert rows[6] < 0.5
        assert step_of(run.best) == 2
        assert step_of(run.last) == 8
        assert all(entry[3] for entry in method.calls[::2])

    def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(self, trained, tmp_path):
        method = Pull(Logistic(1, 2, theta=1.0), at=3, event=lambda: float("nan"))
        with raises("not-finite", "training step 3", match="force"):
            trained(method)
        assert method.network.theta.isfinite().all()
        run = Run(tmp_path / "run")
        assert step_of(run.last) == 2
        assert not run.finished

    def test_ctrl_c_stays_ctrl_c(self, trained):
        def press():
            raise KeyboardInterrupt

        # Those that run in the background have it ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                trained(Pull(Logistic(1, 2, theta=1.0), at=3, event=press))
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        finally:
            signal.signal(signal.SIGINT, before)


class TestResume:
    @pytest.mark.parametrize("workers", [0, 1])
    def test_an_interrupted_run_ends_as_if_nothing_had_happened(self, trained, tmp_path, workers):
        def crash():
            raise RuntimeError

        hardware = Hardware(precision="32", workers=workers)
        with pytest.raises(RuntimeError):
            trained(Pull(Logistic(1, 2, theta=1.0), at=3, event=crash), hardware)
        run, method = trained(hardware=hardware)
        assert [entry[1] for entry in method.calls[::2]] == [2, 3, 4]
        resumed = [entry[4] for entry in method.calls[::2]]
        weight, log = method.network.theta.item(), run.log.read_bytes()

        run.path.rename(tmp_path / "resumed")
        whole_run, whole = trained(hardware=hardware)
        assert whole.network.theta.item() == weight
        assert [entry[4] for entry in whole.calls[::2]][2:] == resumed
        assert whole_run.log.read_bytes() == log

    @pytest.mark.parametrize("workers", [0, 1])
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_after_the_running_step_which_is_saved(self, trained, tmp_path, number, workers):
        hardware = Hardware(precision="32", workers=workers)
        before = signal.getsignal(number)
        method = Pull(Logistic(1, 2, theta=1.0), at=2, event=lambda: signal.raise_signal(number) or 1.0)
        with pytest.raises(Stopped) as stopped:
            trained(method, hardware, checkpoint_every=9)
        assert stopped.value.number == number
        assert signal.getsignal(number) is before
        run = Run(tmp_path / "run")
        assert step_of(run.last) == 3
        assert [path.name for path in run.last.parent.iterdir()] == ["last.ckpt"]
        run, method = trained(hardware=hardware, checkpoint_every=9)
        assert [entry[1] for entry in method.calls[::2]] == [3, 4]
        state, log = torch.load(run.last, weights_only=True), run.log.read_bytes()

        run.path.rename(tmp_path / "resumed")
        whole_run, _ = trained(hardware=hardware, checkpoint_every=9)
        whole = torch.load(whole_run.last, weights_only=True)
        for part in ("state_dict", "optimizer_states", "lr_schedulers"):
            torch.testing.assert_close(state[part], whole[part], rtol=0, atol=0)
        assert whole_run.log.read_bytes() == log

    @pytest.mark.parametrize("stopped_at", [2, 4, 5])
    def test_a_signal_during_validation_ends_it_at_once_and_loses_no_step(
        self, trained, tmp_path, monkeypatch, stopped_at
    ):
        """The validation is done when the run continues, also that after the last step."""
        validation = [make_case("v", Split.VAL), make_case("ww", Split.VAL)]
        optimisation = replace(CONSTANT, learning_rate=0.25, momentum=0.0)
        options = {"validation": validation, "optimisation": optimisation}
        scored = []

        def score(segmenter, case):
            scored.append(case.case.name)
            if len(scored) == stopped_at:
                signal.raise_signal(signal.SIGTERM)
                scored.append("went on")
            return real(segmenter, case)

        real = training._mean_dice
        monkeypatch.setattr(training, "_mean_dice", score)
        with pytest.raises(Stopped):
            trained(**options)
        assert "went on" not in scored
        run = Run(tmp_path / "run")
        assert step_of(run.last) == min(2 * ((stopped_at + 1) // 2), 5)
        run, _ = trained(**options)
        parts = run.log.read_bytes(), step_of(run.best), step_of(run.last)

        run.path.rename(tmp_path / "resumed")
        run, _ = trained(**options)
        assert (run.log.read_bytes(), step_of(run.best), step_of(run.last)) == parts

    def test_a_run_that_only_lacks_its_summary_is_not_trained_again(self, trained):
        run, _ = trained()
        (run.path / "summary.json").unlink()
        before = run.last.read_bytes()
        again, method = trained()
        assert again.finished
        assert method.calls == []
        assert run.last.read_bytes() == before
        assert run.summary["seconds"] > 0

    def test_a_damaged_checkpoint_is_named(self, trained):
        run, _ = trained()
        run.last.write_bytes(b"damaged")
        with raises("damaged", "last.ckpt"):
            trained()


def _log(run, *columns):
    with run.log.open() as file:
        return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]
