"""A training run under the Lightning trainer."""

from __future__ import annotations

import logging
import platform
import resource
import signal
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import psutil
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from segmend.callbacks import Checkpoints, Log, ShownProgress
from segmend.data.augment import Augmentation
from segmend.data.batch import Batch
from segmend.data.cache import PreparedCase
from segmend.data.crops import CropBatches, StepSampler
from segmend.data.sampling import BatchPlan
from segmend.errors import InputError
from segmend.learner import Learner, Optimisation
from segmend.methods import Method
from segmend.metrics import dice
from segmend.networks import Network
from segmend.networks.fitting import training_bytes
from segmend.precision import Precision, best_device, resolved
from segmend.report.curves import draw_curves
from segmend.run import Run, Task
from segmend.segmenter import Segmenter

LOG_EVERY = 10
"""Steps between rows of log.csv."""


@dataclass(frozen=True)
class Hardware:
    """What to compute on; nothing here changes what is learned, up to rounding and the number of processes.

    Attributes:
        precision: number format of the network.
        devices: GPUs, or processes on a CPU.
        nodes: machines.
        workers: processes that load data for each device; None chooses.
        compile: compile the network first.
    """

    precision: Precision = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1
    workers: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name, count, least in (
            ("devices", self.devices, 1),
            ("nodes", self.nodes, 1),
            ("workers", self.workers, 0),
        ):
            if isinstance(count, int) and count < least:
                raise InputError(f"--{name}", f"is {count}", f"give {least} or more")
        present = torch.cuda.device_count()
        if present and isinstance(self.devices, int) and self.devices > present:
            raise InputError("--devices", f"is {self.devices}, but there are {present}", "give at most so many")


@dataclass(frozen=True)
class Training:
    """What is learned from.

    Attributes:
        cases: prepared training cases.
        validation: prepared cases that the best checkpoint is chosen on; may be empty.
        plan: composition of every batch.
        task: channels, classes, patch and preprocessing.
        augmentation: random changes of the samples.
        foreground: share of labelled samples centred on an object.
        optimisation: how weights are moved.
        iterations: optimiser steps.
        seed: decides every random choice.
        checkpoint_every: steps between checkpoints.
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


def fit(run: Run, method: Method, training: Training, hardware: Hardware) -> None:
    """Trains from the run's last checkpoint, if there is one, to the end, and writes log, curves and summary.

    Raises:
        InputError: the loss is not finite, or the last checkpoint is damaged.
    """
    _quieten_lightning()
    learner = Learner(method, training.optimisation, training.iterations, training.seed)
    if hardware.compile:
        method.network.compile()

    def validate(current: Learner) -> float:
        segmenter = Segmenter(current.method.eval(), training.task, precision=hardware.precision)
        score = float(np.mean([_mean_dice(segmenter, case) for case in training.validation]))
        current.method.train()
        return score

    log = Log(run.log, LOG_EVERY)
    checkpoints = Checkpoints(run, training.checkpoint_every, validate if training.validation else None, log)
    trainer = _trainer(run, training, hardware, [log, checkpoints, ShownProgress()])
    done = _steps_done(run)
    # Of the processes of one run, each takes its share of every batch by its rank, which is known only
    # once they are there; so the loader is made by the learner.
    learner.make_loader = lambda rank, processes: _loader(training, hardware, done, rank, processes)
    try:
        trainer.fit(learner, ckpt_path=run.last if done else None, weights_only=True if done else None)
    except SystemExit as stopped:  # which Lightning makes of Ctrl+C, after it has switched that key off
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stopped
    if trainer.is_global_zero:
        draw_curves(run.log, run.path / "curves.png", title=f"{type(method).__name__}, {run.path.name}")
        run.finish(_summary(learner, training, checkpoints.seconds))


def check_memory(network: Network, in_channels: int, patch: Sequence[int], batch: int, hardware: Hardware) -> None:
    """Makes sure that a training step has a chance to fit into memory.

    Raises:
        InputError: it has none.
    """
    device = best_device()
    size = 2 if resolved(hardware.precision, device) == "bf16" else 4
    needed = training_bytes(network, in_channels, patch, batch, size)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            f"--patch {' '.join(map(str, patch))}",
            f"with {batch} samples a batch needs about {needed / 2**30:.0f} GiB, but {free / 2**30:.0f} GiB are free",
            "take a smaller patch, fewer samples or a smaller network",
        )


def _trainer(run: Run, training: Training, hardware: Hardware, callbacks: list[Any]) -> Trainer:
    device = best_device()
    devices: Any = hardware.devices
    if devices == "auto" and device.type == "cpu":
        devices = 1
    several = hardware.nodes > 1 or devices not in (1, "auto") or torch.cuda.device_count() > 1
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=devices,
        num_nodes=hardware.nodes,
        strategy="ddp" if several else "auto",
        precision="bf16-mixed" if resolved(hardware.precision, device) == "bf16" else "32-true",
        max_steps=training.iterations,
        gradient_clip_val=training.optimisation.clip,
        callbacks=callbacks,
        logger=TensorBoardLogger(run.path, name="tensorboard", version=""),
        log_every_n_steps=LOG_EVERY,
        default_root_dir=run.path,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _loader(training: Training, hardware: Hardware, done: int, rank: int, processes: int) -> DataLoader[Batch]:
    batches = CropBatches(
        training.cases,
        training.plan,
        training.task.patch,
        training.augmentation,
        training.foreground,
        rank,
        processes,
    )
    on_gpu = best_device().type == "cuda"
    workers = hardware.workers if hardware.workers is not None else 4 if on_gpu else 0
    return DataLoader(
        batches,
        batch_size=None,
        sampler=StepSampler(training.iterations, done),
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
    )


def _steps_done(run: Run) -> int:
    if not run.last.is_file():
        return 0
    try:
        return int(torch.load(run.last, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(run.last, "is damaged", "delete it to start again") from error


def _mean_dice(segmenter: Segmenter, case: PreparedCase) -> float:
    assert case.label is not None
    predicted = segmenter.prepared_classes(case.image)
    classes = range(1, len(segmenter.task.labels))
    return float(np.mean([dice(predicted == index, case.label == index) for index in classes]))


def _summary(learner: Learner, training: Training, seconds: float) -> dict[str, Any]:
    on_gpu = learner.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "method": type(learner.method).__name__,
        "iterations": training.iterations,
        "seconds": round(seconds, 1),
        "steps_per_second": round(training.iterations / seconds, 3),
        "peak_memory_bytes": peak,
        "device": torch.cuda.get_device_name() if on_gpu else f"{platform.processor() or platform.machine()} CPU",
        "versions": {name: version(name) for name in ("segmend", "torch", "lightning", "monai", "numpy")},
        "python": platform.python_version(),
        "data_fingerprint": training.task.fingerprint,
        "parameters": sum(p.numel() for p in learner.method.network.parameters()),
    }


def _quieten_lightning() -> None:
    """Leaves what concerns the user: Segmend shows progress and errors itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
