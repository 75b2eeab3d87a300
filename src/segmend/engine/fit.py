"""A training run under the Lightning trainer."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from segmend.core import signals as stopping
from segmend.core.batch import Batch
from segmend.core.documents import DamagedError
from segmend.core.errors import InputError
from segmend.core.precision import best_device, resolved
from segmend.core.regions import ClassSets, annotated_objects
from segmend.data.augment import Augmentation
from segmend.data.cache import PreparedCase
from segmend.data.compressed import VoxelArray
from segmend.data.sampling import BatchPlan
from segmend.engine.batches import CropBatches, ForegroundBy, StepSampler
from segmend.engine.callbacks import REVISION, CheckpointFiles, Checkpoints, Log, ShownProgress, StopAfterStep
from segmend.engine.checkpoints import check_continuable, check_origin, read_checkpoint
from segmend.engine.curves import draw_curves
from segmend.engine.hardware import Hardware
from segmend.engine.label_curves import draw_label_curves
from segmend.engine.label_history import LabelHistory
from segmend.engine.label_revision import Relabelling, label_store
from segmend.engine.label_store import LabelStore
from segmend.engine.launchers import launcher_of
from segmend.engine.learner import Learner, Optimisation
from segmend.engine.offset_report import draw_offsets
from segmend.engine.run import Run, Task
from segmend.engine.segmenter import Segmenter
from segmend.methods import Method
from segmend.metrics import mean_dice

LOG_EVERY = 10
"""Steps between rows of log.csv."""


@dataclass(frozen=True)
class Training:
    """Data and settings of a training.

    Attributes:
        cases: prepared training cases.
        validation: prepared cases that the best checkpoint is chosen on; may be empty.
        plan: composition of every batch.
        task: channels, classes, patch and preprocessing.
        augmentation: random changes of the samples.
        foreground: fraction of labelled samples centred on an object.
        optimisation: optimiser settings.
        iterations: optimiser steps.
        seed: decides every random choice.
        checkpoint_every: steps between checkpoints.
        truth: true labels by case, where they are known: for the log alone, of methods that rewrite labels.
        foreground_by: how the foreground voxels are drawn.
    """

    cases: Sequence[PreparedCase]
    validation: Sequence[PreparedCase]
    plan: BatchPlan
    task: Task
    augmentation: Augmentation
    foreground: float
    optimisation: Optimisation
    iterations: int
    seed: int
    checkpoint_every: int
    truth: Mapping[str, VoxelArray] = field(default_factory=dict)
    foreground_by: ForegroundBy = "voxel"

    @property
    def class_sets(self) -> ClassSets:
        """Sets of possible classes, where cases are annotated in part."""
        return ClassSets.of((case.case.annotated for case in self.cases), self.task.objects, len(self.task.labels))


def fit(run: Run, method: Method, training: Training, hardware: Hardware) -> None:
    """Trains from the run's last checkpoint, if there is one, to the end, and writes log, curves and summary.

    Raises:
        InputError: the loss is not finite, or the last checkpoint is damaged.
        Stopped: the process was asked to stop; the running step was finished, and its checkpoint is saved.
    """
    _quieten_lightning()
    sets = training.class_sets
    learner = Learner(
        method, training.optimisation, training.iterations, training.seed, training.task.regions, sets.members
    )
    if hardware.compile:
        method.network.compile()

    segmenter = Segmenter(method, training.task, precision=hardware.precision)

    def validate(current: Learner) -> float:
        current.method.eval()
        score = float(np.mean([_mean_dice(segmenter, case) for case in training.validation]))
        current.method.train()
        return score

    log = Log(run.log, LOG_EVERY)
    checkpoints = Checkpoints(run, training.checkpoint_every, validate if training.validation else None, log)
    callbacks: list[Callback] = [log, StopAfterStep(checkpoints), checkpoints, ShownProgress()]
    labels = label_store(run.labels, method, training.cases, training.iterations) if method.keeps() else None
    if labels:
        objects = training.task.objects
        history = LabelHistory(run.path / "labels.csv", labels, training.cases, objects, training.truth, method.report)
        callbacks.insert(2, Relabelling(labels, checkpoints, training.cases, segmenter, training.seed, history))
    trainer = _trainer(run, training, hardware, callbacks)
    done, remaining = _progress(run, learner, trainer)
    if labels and trainer.is_global_zero:
        # Before processes load data, which would see what is to be removed.
        labels.rewind(done, revised=REVISION not in remaining)
    # Of the processes of one run, each takes its share of every batch by its rank, which is known only
    # once they are there; so the loader is made by the learner.
    learner.make_loader = lambda rank, processes: _loader(training, labels, hardware, done, rank, processes)
    stopping.promise(f"continue from step {done}" if done else None)
    with stopping.deferred():
        _fit(trainer, learner, run.last if done else None)
        if checkpoints.remaining:  # the trainer does nothing where no step is left
            checkpoints.take_up(trainer, learner)
    stopping.promise("continue")
    if trainer.is_global_zero:
        _draw(run, f"{type(method).__name__}, {run.path.name}", evaluated=bool(method.layers))
        run.finish(_summary(learner, training, checkpoints.seconds))


def _draw(run: Run, title: str, *, evaluated: bool) -> None:
    """Draws the curves of a finished run, those of its labels too if the method rewrites them."""
    draw_curves(run.log, run.path / "curves.png", title)
    if evaluated:
        draw_label_curves(run.path / "labels.csv", run.path / "labels.png", title)
    if (run.path / "offsets.csv").is_file():
        draw_offsets(run.path / "offsets.csv", run.path / "offsets.png", title)


def _fit(trainer: Trainer, learner: Learner, checkpoint: Path | None) -> None:
    try:
        trainer.fit(learner, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    except SystemExit as ended:  # which Lightning makes of an interrupt
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise ended.__context__ from None
        raise
    finally:
        stopping.claim()  # it leaves Ctrl+C switched off


def _trainer(run: Run, training: Training, hardware: Hardware, callbacks: list[Callback]) -> Trainer:
    device = best_device()
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=hardware.processes_on_a_node,
        num_nodes=hardware.nodes,
        # Some methods leave a network out of some steps.
        strategy="ddp_find_unused_parameters_true" if hardware.processes > 1 else "auto",
        precision="bf16-mixed" if resolved(hardware.precision, device) == "bf16" else "32-true",
        max_steps=training.iterations,
        gradient_clip_val=training.optimisation.clip,
        callbacks=callbacks,
        plugins=[CheckpointFiles(), launcher_of(hardware)],
        logger=TensorBoardLogger(run.path, name="tensorboard", version=""),
        log_every_n_steps=LOG_EVERY,
        default_root_dir=run.path,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _loader(
    training: Training, labels: LabelStore | None, hardware: Hardware, done: int, rank: int, processes: int
) -> DataLoader[Batch]:
    batches = CropBatches(
        training.cases,
        training.plan,
        training.task.patch,
        training.augmentation,
        training.foreground,
        rank,
        processes,
        labels,
        training.foreground_by,
        training.class_sets,
    )
    on_gpu = best_device().type == "cuda"
    workers = hardware.workers if hardware.workers is not None else 4 if on_gpu else 0
    return DataLoader(
        batches,
        batch_size=None,
        sampler=StepSampler(training.iterations, done),
        num_workers=workers,
        worker_init_fn=_leave_signals_to_parent,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
    )


def _leave_signals_to_parent(_: int) -> None:
    """Lets a process that loads data live until its parent, which gets the same signals, has finished its step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _progress(run: Run, learner: Learner, trainer: Trainer) -> tuple[int, Sequence[str]]:
    """Steps of the last checkpoint and what remains to be done of the last one's end, once it can be continued from."""
    if not os.path.lexists(run.last):
        return 0, ()
    try:
        content = read_checkpoint(run.last)
        check_origin(content, run.mark)
        optimiser = learner.optimisation.optimiser_of(learner.method)
        done = check_continuable(content, learner.method, optimiser, trainer, learner.iterations)
    except DamagedError as error:
        problem = f"is damaged ({error})" if str(error) else "is damaged"
        raise InputError(run.last, problem, "delete it to start again", code="damaged") from error
    return done, content["callbacks"][Checkpoints.__name__].get("remaining", ())


def _mean_dice(segmenter: Segmenter, case: PreparedCase) -> float:
    assert case.label is not None
    objects = annotated_objects(segmenter.task.objects, case.case.annotated)
    predicted = segmenter.prepared_classes(np.asarray(case.image))
    return mean_dice(predicted, np.asarray(case.label), objects.values())


def _summary(learner: Learner, training: Training, seconds: float) -> dict[str, Any]:
    on_gpu = learner.device.type == "cuda"
    return {
        "method": type(learner.method).__name__,
        "iterations": training.iterations,
        "seconds": round(seconds, 1),
        "steps_per_second": round(training.iterations / seconds, 3),
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else _peak_memory(),
        "device": torch.cuda.get_device_name() if on_gpu else f"{platform.processor() or platform.machine()} CPU",
        "versions": {name: version(name) for name in ("segmend", "torch", "lightning", "monai", "numpy")},
        "python": platform.python_version(),
        "data_fingerprint": training.task.fingerprint,
        "parameters": sum(p.numel() for p in learner.method.network.parameters()),
    }


def _peak_memory() -> int:
    """Largest memory of this process in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _quieten_lightning() -> None:
    """Leaves what concerns the user: Segmend shows progress and errors itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
