"""What happens around the steps of a training: logging, progress, checkpoints, validation."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from segmend.learner import Learner
from segmend.outputs import whole_file, writing_to
from segmend.progress import Reporter
from segmend.run import Run


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
        """Takes up the log of a resumed run."""
        if self.path.is_file() and trainer.global_step:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            old = [{name: float(value) for name, value in row.items() if value} for row in rows]
            self.rows = [{**row, "step": int(row["step"])} for row in old if row["step"] <= trainer.global_step]

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
        with whole_file(self.path) as file:
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


class Checkpoints(Callback):
    """Keeps ``last.ckpt``, whole at every moment, and ``best.ckpt`` where there is a validation split.

    Args:
        run: the run folder.
        every: steps between checkpoints.
        validate: gives the mean Dice over the validation cases of the method as it is; None without a split.
        logbook: where the validation score is written.
    """

    def __init__(self, run: Run, every: int, validate: Callable[[Learner], float] | None, logbook: Log) -> None:
        self.run, self.every, self.validate, self.logbook = run, every, validate, logbook
        self.best = -math.inf
        self._start, self._seconds_before = time.monotonic(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validates and saves, now and then and at the end."""
        if trainer.global_step % self.every and trainer.global_step != trainer.max_steps:
            return
        assert isinstance(pl_module, Learner)
        if self.validate:
            score = self._score(trainer, pl_module)
            if score > self.best:
                self.best = score
                _save(trainer, self.run.best)
        _save(trainer, self.run.last)

    def _score(self, trainer: Trainer, learner: Learner) -> float:
        assert self.validate
        score = torch.zeros(1, device=learner.device)
        if trainer.is_global_zero:
            score += self.validate(learner)
            self.logbook.add(trainer, {"val_dice": float(score)})
        return float(trainer.strategy.broadcast(score))

    @property
    def seconds(self) -> float:
        """Time that the run has taken, over all its continuations."""
        return self._seconds_before + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self.best, "seconds": self.seconds, "run": self.run.mark}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores it."""
        self.best, self._seconds_before = state_dict["best"], state_dict["seconds"]


def _save(trainer: Trainer, path: Path) -> None:
    # Every process takes part in saving; only the first one writes, and the file is renamed when it is whole.
    temporary = path.with_name(f".{path.name}.unfinished")
    with writing_to(path):
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(path)
    trainer.strategy.barrier()
