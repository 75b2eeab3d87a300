"""What happens around the steps of a training: logging, progress, checkpoints, validation."""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.io import atomic_file, reserve_file
from segmend.core.progress import Reporter
from segmend.engine.learner import Learner
from segmend.engine.run import Run


class Log(Callback):
    """Writes ``log.csv`` and hands the same values to the trainer's logger.

    Rows beyond the checkpoint that a run resumes from are dropped: those steps are done again.

    Args:
        path: the CSV file.
        every: steps between rows.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes up the log of a resumed run.

        Raises:
            InputError: it is damaged.
        """
        if self.path.is_file() and trainer.global_step:
            try:
                with self.path.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file, strict=True))
                old = [{name: float(value) for name, value in row.items() if value} for row in rows]
                numbered = [{**row, "step": int(row["step"])} for row in old]
            except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
                remedy = "restore it, or delete it: the run goes on, and only these rows are lost"
                raise InputError(self.path, f"is damaged ({error})", remedy, code="damaged") from error
            self.rows = [row for row in numbered if row["step"] <= trainer.global_step]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the loss terms, now and then."""
        if trainer.is_global_zero and (trainer.global_step % self.every == 0 or trainer.global_step == 1):
            assert isinstance(pl_module, Learner)
            terms = {name: float(term) for name, term in pl_module.last_terms.items()}
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self.add(trainer, {**terms, "loss": sum(terms.values()), "learning_rate": rate})

    def add(self, trainer: Trainer, values: dict[str, float]) -> None:
        """Adds values to the row of the current step."""
        if not self.rows or self.rows[-1]["step"] != trainer.global_step:
            self.rows.append({"step": trainer.global_step})
        self.rows[-1] |= values
        with atomic_file(self.path) as file:
            pd.DataFrame(self.rows).to_csv(file, index=False)
        for logger in trainer.loggers:
            logger.log_metrics(values, trainer.global_step)


class ShownProgress(Callback):
    """A progress bar with the loss, or lines where there is no terminal."""

    def __init__(self) -> None:
        self.reporter: Reporter | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar at the step that the run continues from."""
        if trainer.is_global_zero:
            self.reporter = Reporter("training", int(trainer.max_steps), done=trainer.global_step).__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the step."""
        if self.reporter:
            assert isinstance(pl_module, Learner)
            self.reporter.advance(f"loss {sum(float(term) for term in pl_module.last_terms.values()):.4f}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar."""
        if self.reporter:
            self.reporter.__exit__(None, None, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the bar before the error is shown."""
        if self.reporter:
            self.reporter.__exit__(type(exception), exception, None)


REVISION, VALIDATION = "revision", "validation"
"""What may follow a step."""


class Checkpoints(Callback):
    """Keeps ``last.ckpt``, whole at every moment, and ``best.ckpt`` where there is a validation split.

    Args:
        run: the run folder.
        every: steps between checkpoints.
        validate: gives the mean Dice over the validation cases of the method as it is; None without a split.
        logbook: where the validation score is written.

    Attributes:
        remaining: what the newest checkpoint was written before, though it belongs to the end of its step.
    """

    def __init__(self, run: Run, every: int, validate: Callable[[Learner], float] | None, logbook: Log) -> None:
        self.run, self.every, self.validate, self.logbook = run, every, validate, logbook
        self.best = -math.inf
        self.remaining: tuple[str, ...] = ()
        self._start, self._seconds_before = time.monotonic(), 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Does what remained to be done at the end of the step that a run was stopped at."""
        if self.remaining:
            self._end_step(trainer, pl_module)

    def take_up(self, trainer: Trainer, learner: LightningModule) -> None:
        """Does what remained to be done at the end of the last step."""
        self.logbook.on_train_start(trainer, learner)
        self.on_train_start(trainer, learner)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validates and saves, now and then and at the end."""
        self._end_step(trainer, pl_module)

    def save(self, trainer: Trainer, remaining: Sequence[str] = ()) -> None:
        """Writes ``last.ckpt``.

        Args:
            trainer: with the step just done.
            remaining: what is still to be done at the end of this step; a resumed run begins with it.
        """
        self.remaining = tuple(remaining)
        _save(trainer, self.run.last)
        stopping.promise(f"continue from step {trainer.global_step}")

    @contextmanager
    def reserve(self, trainer: Trainer, remaining: Sequence[str]) -> Iterator[None]:
        """Has ``last.ckpt`` hold the state from before a block if the process is asked to stop inside."""
        self.remaining = tuple(remaining)
        with ExitStack() as stack:
            if trainer.is_global_zero:
                stack.enter_context(reserve_file(self.run.last, trainer.save_checkpoint))
            else:
                trainer.save_checkpoint(self.run.last)  # takes part, but does not write
            self.remaining = ()
            stopping.promise(f"continue from step {trainer.global_step}")
            yield

    def _end_step(self, trainer: Trainer, learner: LightningModule) -> None:
        if trainer.global_step % self.every and trainer.global_step != trainer.max_steps:
            self.remaining = ()
            return
        assert isinstance(learner, Learner)
        if self.validate:
            score = self._score(trainer, learner)
            if score > self.best:
                self.best = score
                _save(trainer, self.run.best)
        self.save(trainer)

    def _score(self, trainer: Trainer, learner: Learner) -> float:
        assert self.validate
        score = torch.zeros(1, device=learner.device)
        if trainer.is_global_zero:
            try:
                with stopping.interruptible():
                    score += self.validate(learner)
            except stopping.Stopped:
                score -= math.inf  # signals it to the other processes, which wait for it
            else:
                self.logbook.add(trainer, {"val_dice": float(score)})
        score = trainer.strategy.broadcast(score)
        if float(score) == -math.inf:
            self.save(trainer, [VALIDATION])
            raise stopping.Stopped(stopping.requested() or signal.SIGTERM)
        return float(score)

    @property
    def seconds(self) -> float:
        """Time that the run has taken, over all its continuations."""
        return self._seconds_before + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {
            "best": self.best,
            "seconds": self.seconds,
            "remaining": list(self.remaining),
            "run": self.run.mark,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores it."""
        self.best, self._seconds_before = state_dict["best"], state_dict["seconds"]
        self.remaining = tuple(state_dict.get("remaining", ()))


class StopAfterStep(Callback):
    """Answers a signal with a checkpoint at the end of the running step.

    It comes after the log and before all else that follows a step.

    Args:
        checkpoints: writes the checkpoint.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self._others: list[BaseProcess] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes which child processes there are before some are started to load data."""
        self._others = active_children()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the signals back from the trainer, which would let SIGTERM reach the other processes unprepared."""
        stopping.claim()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves and raises, in all processes if one of them was asked to stop.

        Raises:
            Stopped: the process was asked to stop.
        """
        number = stopping.requested()
        stop = number is not None
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self.checkpoints.save(trainer, [REVISION, VALIDATION])
            raise stopping.Stopped(number or signal.SIGTERM)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends the processes that load data, which may be waiting for labels that no process will write."""
        on_main_thread = threading.current_thread() is threading.main_thread()
        if hasattr(signal, "SIGCHLD") and on_main_thread:  # or torch would take their end for a failure
            before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for child in set(active_children()).difference(self._others):
            child.kill()
            child.join()
        if hasattr(signal, "SIGCHLD") and on_main_thread:
            signal.signal(signal.SIGCHLD, before)


def _save(trainer: Trainer, path: Path) -> None:
    # Every process takes part in saving; only the first one writes.
    with atomic_file(path) if trainer.is_global_zero else nullcontext(path) as file:
        trainer.save_checkpoint(file)
    trainer.strategy.barrier()


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints straight to their files: Lightning has a copy in the folder of temporary files before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Writes a checkpoint. A full disk is an ``OSError``, which it is not where torch writes the file itself."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).write_bytes(content.getbuffer())
