from __future__ import annotations

import errno
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from refusals import raises

from segmend.core import progress
from segmend.core.errors import InputError
from segmend.engine.callbacks import Checkpoints, Log, ShownProgress
from segmend.engine.learner import Learner, Optimisation
from segmend.engine.run import Run
from segmend.methods import Supervised
from segmend.networks import VNet


class Logger:
    def __init__(self):
        self.rows = []

    def log_metrics(self, values, step):
        self.rows.append((step, dict(values)))


class FakeTrainer:
    """What the callbacks need of a trainer; its checkpoints hold the step."""

    def __init__(self, rank=0, max_steps=20):
        self.global_step, self.max_steps = 0, max_steps
        self.is_global_zero = rank == 0
        self.loggers = [Logger()]
        self.optimizers = [SimpleNamespace(param_groups=[{"lr": 0.125}])]
        self.strategy = SimpleNamespace(broadcast=lambda score: score, barrier=lambda: None)
        self.saves = []

    def save_checkpoint(self, path):
        self.saves.append(path)
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(self.global_step))

    def run(self, callbacks, learner, steps):
        for _ in range(steps):
            self.global_step += 1
            learner.last_terms = {"a": torch.tensor(float(self.global_step)), "b": torch.tensor(0.1)}
            for callback in callbacks:
                callback.on_train_batch_end(self, learner, None, None, 0)


@pytest.fixture
def learner():
    return Learner(Supervised(VNet(1, 2, 2, width=1)), Optimisation(), iterations=20, seed=0)


@pytest.fixture
def trainer():
    return FakeTrainer()


class TestLog:
    def test_rows(self, tmp_path, learner, trainer):
        log = Log(tmp_path / "log.csv", every=4)
        trainer.run([log], learner, 9)
        log.add(trainer, {"val_dice": 0.5})
        rows = pd.read_csv(tmp_path / "log.csv")
        assert list(rows.columns) == ["step", "a", "b", "loss", "learning_rate", "val_dice"]
        assert rows["step"].tolist() == [1, 4, 8, 9]
        assert rows["a"].tolist()[:3] == [1, 4, 8]
        assert rows["loss"].tolist()[:3] == pytest.approx([1.1, 4.1, 8.1])
        assert rows["learning_rate"].tolist()[:3] == [0.125] * 3
        assert math.isnan(rows["a"][3])
        assert rows["val_dice"][3] == 0.5
        assert [step for step, _ in trainer.loggers[0].rows] == [1, 4, 8, 9]

    @pytest.mark.parametrize(
        "content", [b"\xff\xfes", b"step,loss\none,2\n", b"loss\n2\n", b"step,loss\nnan,1\n", b'step\n"1']
    )
    def test_a_damaged_one_is_named(self, tmp_path, learner, trainer, content):
        (tmp_path / "log.csv").write_bytes(content)
        trainer.global_step = 4
        with raises("damaged", "log.csv"):
            Log(tmp_path / "log.csv", every=4).on_train_start(trainer, learner)

    def test_values_of_one_step_share_a_row(self, tmp_path, learner, trainer):
        log = Log(tmp_path / "log.csv", every=1)
        trainer.run([log], learner, 1)
        log.add(trainer, {"val_dice": 0.5})
        assert pd.read_csv(tmp_path / "log.csv").shape == (1, 6)

    def test_only_the_first_process_writes(self, tmp_path, learner):
        FakeTrainer(rank=1).run([Log(tmp_path / "log.csv", every=1)], learner, 3)
        assert not list(tmp_path.iterdir())

    def test_a_resumed_run_writes_what_an_uninterrupted_one_writes(self, tmp_path, learner):
        """Whatever was logged beyond the checkpoint; to the last digit."""
        whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
        awkward = {"x": 0.1 + 0.2, "y": 1e-17 / 3, "z": 2 / 3e9}

        def steps(log, trainer, first, last):
            for trainer.global_step in range(first, last + 1):
                if trainer.global_step % 3 == 0:
                    log.add(trainer, {"val_dice": 1 / trainer.global_step})
                log.add(trainer, {name: value / trainer.global_step for name, value in awkward.items()})

        steps(Log(whole, 1), FakeTrainer(), 1, 12)
        steps(Log(parts, 1), FakeTrainer(), 1, 8)
        for resumed_from, stopped_at in ((6, 11), (9, 12)):
            log, trainer = Log(parts, 1), FakeTrainer()
            trainer.global_step = resumed_from
            log.on_train_start(trainer, learner)
            steps(log, trainer, resumed_from + 1, stopped_at)
        assert parts.read_bytes() == whole.read_bytes()

    def test_a_run_from_the_start_drops_an_old_log(self, tmp_path, learner, trainer):
        (tmp_path / "log.csv").write_text("step,a\n1,5\n")
        log = Log(tmp_path / "log.csv", every=1)
        log.on_train_start(trainer, learner)
        assert log.rows == []


class TestCheckpoints:
    def test_now_and_then_and_at_the_end(self, tmp_path, learner, trainer):
        run = Run(tmp_path)
        callback = Checkpoints(run, 8, None, Log(run.log, 10))
        kept = []
        for _ in range(20):
            trainer.run([callback], learner, 1)
            kept.append(int(run.last.read_text()) if run.last.is_file() else 0)
        assert kept == [0] * 7 + [8] * 8 + [16] * 4 + [20]
        assert [path.name for path in run.last.parent.iterdir()] == ["last.ckpt"]

    def test_the_end_may_be_a_multiple(self, tmp_path, learner, trainer):
        run = Run(tmp_path)
        trainer.run([Checkpoints(run, 10, None, Log(run.log, 10))], learner, 20)
        assert len(trainer.saves) == 2

    def test_the_best_is_kept_and_scores_are_logged(self, tmp_path, learner, trainer):
        run = Run(tmp_path)
        scores = iter([0.5, 0.5, 0.7, 0.2])
        callback = Checkpoints(run, 5, lambda current: next(scores), Log(run.log, 100))
        best = []
        for _ in range(4):
            trainer.run([callback], learner, 5)
            best.append(int(run.best.read_text()))
        assert best == [5, 5, 15, 15]
        assert int(run.last.read_text()) == 20
        assert pd.read_csv(run.log)["val_dice"].tolist() == pytest.approx([0.5, 0.5, 0.7, 0.2])

    def test_a_resumed_run_knows_the_best_and_the_time(self, tmp_path, learner, trainer):
        run = Run(tmp_path)
        first = Checkpoints(run, 5, lambda current: 0.5, Log(run.log, 100))
        trainer.run([first], learner, 5)
        first._start -= 1000
        second = Checkpoints(run, 5, lambda current: 0.4, Log(run.log, 100))
        second.load_state_dict(first.state_dict())
        trainer.run([second], learner, 5)
        assert run.best.read_text() == "5"
        assert 1000 < second.seconds < 1100

    def test_other_processes_take_part_but_neither_validate_nor_write(self, tmp_path, learner):
        trainer = FakeTrainer(rank=1)
        trainer.save_checkpoint = trainer.saves.append  # collective, but only the first process writes
        trainer.strategy.broadcast = lambda score: score + 0.75

        def validate(current):
            raise AssertionError

        run = Run(tmp_path)
        callback = Checkpoints(run, 5, validate, Log(run.log, 100))
        trainer.run([callback], learner, 5)
        assert callback.best == 0.75
        assert len(trainer.saves) == 2
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("error", "raised"), [(OSError(errno.ENOSPC, "full"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)]
    )
    def test_saving_that_fails_leaves_the_last_one_whole(self, tmp_path, learner, trainer, error, raised):
        run = Run(tmp_path)
        callback = Checkpoints(run, 5, None, Log(run.log, 100))
        trainer.run([callback], learner, 5)

        def half(path):
            path.write_text("hal")
            raise error

        trainer.save_checkpoint = half
        with pytest.raises(raised):
            trainer.run([callback], learner, 5)
        assert run.last.read_text() == "5"


class TestShownProgress:
    @pytest.fixture
    def printed(self, monkeypatch):
        """Lines on a console that is no terminal."""
        lines = []
        monkeypatch.setattr(
            progress, "console", SimpleNamespace(is_terminal=False, print=lambda line, **_: lines.append(line))
        )
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
        return lines

    def test_counts_from_where_the_run_continues(self, learner, trainer, printed):
        callback = ShownProgress()
        trainer.global_step = 17
        callback.on_train_start(trainer, learner)
        trainer.run([callback], learner, 3)
        callback.on_train_end(trainer, learner)
        assert [line.split()[1] for line in printed] == ["18/20", "19/20", "20/20"]
        assert printed[0].endswith("loss 18.1000")

    def test_only_the_first_process_shows_it(self, learner, printed):
        callback, trainer = ShownProgress(), FakeTrainer(rank=1)
        callback.on_train_start(trainer, learner)
        trainer.run([callback], learner, 3)
        callback.on_train_end(trainer, learner)
        callback.on_exception(trainer, learner, ValueError())
        assert not printed

    def test_an_error_closes_it_without_a_last_line(self, learner, trainer, printed):
        callback = ShownProgress()
        callback.on_train_start(trainer, learner)
        trainer.run([callback], learner, 2)
        before = list(printed)
        callback.on_exception(trainer, learner, ValueError())
        assert printed == before
