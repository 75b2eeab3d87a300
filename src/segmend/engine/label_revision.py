"""Has a method revise labels between the steps of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from segmend.core import signals as stopping
from segmend.core.case import Quality
from segmend.data.cache import PreparedCase
from segmend.engine.callbacks import REVISION, VALIDATION, Checkpoints
from segmend.engine.label_history import LabelHistory
from segmend.engine.label_store import LabelStore
from segmend.engine.segmenter import Segmenter
from segmend.methods import LabelledCase, Method, Step


def label_store(path: Path, method: Method, cases: Sequence[PreparedCase], iterations: int) -> LabelStore:
    """The labels of a run of this many iterations, with the steps at which the method revises them."""
    steps = [step for step in range(iterations) if method.revises(Step(step, iterations))]
    given = {case.case.name: case.given for case in cases}
    return LabelStore(path, method.layers, given, steps, maps=method.maps, values=method.values)


@dataclass(frozen=True)
class RevisableCase(LabelledCase):
    """A training case as a method that revises labels sees it.

    Nothing stays in memory but what the method keeps.

    Attributes:
        prepared: the case.
        labels: of the run.
        revision: the newest of them.
        segmenter: with the method as it is.
    """

    prepared: PreparedCase
    labels: LabelStore
    revision: int
    segmenter: Segmenter

    @property
    def name(self) -> str:
        """Of the case."""
        return self.prepared.case.name

    @property
    def quality(self) -> Quality:
        """The quality of its given label."""
        return self.prepared.case.quality

    @property
    def annotator(self) -> str:
        """Who drew the given label."""
        return self.prepared.case.annotator

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis."""
        return self.prepared.spacing

    @property
    def sliced(self) -> bool:
        """Whether the network sees 2D slices of a 3D scan."""
        return self.prepared.image.ndim - 1 > len(self.segmenter.task.patch)

    @property
    def given(self) -> Tensor:
        """The given label ``[*spatial]``; all ``IGNORE`` without one."""
        return torch.tensor(np.asarray(self.prepared.given))

    def layer(self, name: str) -> Tensor:
        """The newest labels ``[*spatial]`` of a layer."""
        return torch.tensor(np.asarray(self.labels.label(self.name, name, self.revision)))

    def map(self, name: str) -> Tensor:
        """The newest map ``[*spatial]`` of this name; -1 everywhere if there is none."""
        return torch.tensor(np.asarray(self.labels.map(self.name, name, self.revision)))

    def was_revised(self, name: str) -> bool:
        """Whether the layer or map was revised before."""
        return self.labels.holder(self.name, name, self.revision) > 0

    def predict_map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """What a function of images makes of the whole scan, ``[K, *spatial]``, by the sliding window."""
        return torch.from_numpy(self.segmenter.maps(np.asarray(self.prepared.image), function))


class Relabelling(Callback):
    """Has the first process revise labels before the steps at which the method wants it; the others wait.

    It comes before the checkpoint of the same step is saved: whatever the method learns in revising is in
    it, and a run that is killed between the two drops the revision and writes it again. A run that is stopped
    meanwhile saves its state before the revision, and loses no step.

    Args:
        labels: of the run.
        checkpoints: of the run.
        cases: all training cases.
        segmenter: with the method that is trained.
        seed: decides, together with the step, every random choice in revising.
        history: writes down what was changed.
    """

    def __init__(
        self,
        labels: LabelStore,
        checkpoints: Checkpoints,
        cases: Sequence[PreparedCase],
        segmenter: Segmenter,
        seed: int,
        history: LabelHistory,
    ) -> None:
        self.labels, self.checkpoints = labels, checkpoints
        self.cases, self.segmenter, self.seed, self.history = cases, segmenter, seed, history

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Revise labels before the first step, and takes up the history of a resumed run."""
        self._revise_if_due(trainer)
        if trainer.is_global_zero:
            with stopping.interruptible():
                self.history.update()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Revise labels before the next step."""
        if trainer.global_step not in self.labels.steps:
            return
        with self.checkpoints.reserve(trainer, [REVISION, VALIDATION]):
            self._revise_if_due(trainer)

    def _revise_if_due(self, trainer: Trainer) -> None:
        step, revision = trainer.global_step, self.labels.due(trainer.global_step)
        if step not in self.labels.steps:
            return
        with stopping.interruptible():
            if trainer.is_global_zero and self.labels.count < revision:
                self._revise(Step(step, int(trainer.max_steps)), revision)
                self.history.update()
            # A barrier alone would not do: it gives up long before the labels of many scans are revised.
            self.labels.wait_for(revision)
        trainer.strategy.barrier()

    @torch.no_grad()
    def _revise(self, step: Step, revision: int) -> None:
        torch.manual_seed(int(np.random.SeedSequence((self.seed, step.index), spawn_key=(1,)).generate_state(1)[0]))
        method = self.segmenter.method.eval()
        cases = [RevisableCase(case, self.labels, revision - 1, self.segmenter) for case in self.cases]
        self.labels.append(type(method).__name__, method.revise(cases, step))
        method.train()
