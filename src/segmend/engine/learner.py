"""The one driver of every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from segmend.core.batch import Batch
from segmend.core.errors import InputError
from segmend.core.precision import float32_small_convs_on_cpu
from segmend.functional.class_sets import class_sets
from segmend.functional.regions import dice_by_region
from segmend.methods import Method, Step
from segmend.methods.components.ema import follow_students

M = TypeVar("M", bound=nn.Module)

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Memory layout by number of axes; convolutions are fastest in it."""


@dataclass(frozen=True)
class Optimisation:
    """Optimiser settings.

    Attributes:
        optimiser: AdamW, or stochastic gradient descent with momentum, which most of the papers use.
        learning_rate: at the first step; the usual value of the optimiser (0.01 or 0.001) by default.
        momentum: of SGD.
        nesterov: have SGD look ahead along its momentum (Sutskever et al., ICML 2013), as nnU-Net does.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW).
        schedule: poly (1 - progress)^0.9, step (a tenth after every third of the run), or constant.
        clip: largest norm of the gradient; None does not clip.
    """

    optimiser: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float | None = None
    momentum: float = 0.9
    nesterov: bool | None = None
    weight_decay: float = 1e-4
    schedule: Literal["poly", "step", "constant"] = "poly"
    clip: float | None = None

    def __post_init__(self) -> None:
        positive = {"learning_rate": self.learning_rate, "clip": self.clip}
        for name, value in positive.items():
            if value is not None and value <= 0:
                raise InputError(
                    f"optimisation.{name}", f"{value} is not usable", "give a number above 0", code="invalid-value"
                )
        if not 0 <= self.momentum < 1:
            raise InputError(
                "optimisation.momentum",
                f"{self.momentum} is not usable",
                "give a number from 0 to below 1",
                code="invalid-value",
            )
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise InputError(
                "optimisation.nesterov",
                f"needs SGD with momentum, got {self.optimiser} with momentum {self.momentum:g}",
                "set `optimisation.optimiser sgd` and a momentum above 0, or leave it out",
                code="mismatch",
            )
        if self.weight_decay < 0:
            raise InputError(
                "optimisation.weight_decay",
                f"{self.weight_decay} is not usable",
                "give 0 or more",
                code="invalid-value",
            )

    @property
    def first_rate(self) -> float:
        """The learning rate at the first step."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.01 if self.optimiser == "sgd" else 1e-3

    def optimiser_of(self, module: nn.Module) -> Optimizer:
        """The optimiser of all trainable parameters of a module."""
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if self.optimiser == "sgd":
            return SGD(
                parameters,
                lr=self.first_rate,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                nesterov=bool(self.nesterov),
            )
        return AdamW(parameters, lr=self.first_rate, weight_decay=self.weight_decay)

    def factor(self, progress: float) -> float:
        """Factor of the learning rate when this fraction of the run is done."""
        if self.schedule == "poly":
            return float(max(1 - progress, 0) ** 0.9)
        return 0.1 ** min(int(3 * progress), 2) if self.schedule == "step" else 1.0


class Learner(LightningModule):
    """Drives a method: adds up its loss terms, moves the weights, keeps every step reproducible.

    All randomness of a step comes from (seed, step, process), so a run that was killed and resumed
    draws what it would have drawn. Networks run channels last, which is faster wherever it matters.

    Args:
        method: what to train.
        optimisation: how to move the weights.
        iterations: optimiser steps of the whole run.
        seed: decides all randomness.
        regions: region name to the indices of its classes: Dice losses are then of regions.
        sets: class indices of the sets of possible classes that labels hold.

    Attributes:
        last_terms: loss terms of the last step by name; on the CPU from the optimiser's step on.
        make_loader: gives the loader of one of several processes, by its rank and their number.
    """

    def __init__(
        self,
        method: Method,
        optimisation: Optimisation,
        iterations: int,
        seed: int,
        regions: Mapping[str, tuple[int, ...]] | None = None,
        sets: Sequence[tuple[int, ...]] = (),
    ) -> None:
        super().__init__()
        self.method = channels_last(method)
        self.optimisation = optimisation
        self.iterations = iterations
        self.seed = seed
        self.regions = tuple((regions or {}).values())
        self.sets = tuple(sets)
        self.last_terms: dict[str, Tensor] = {}
        self.make_loader: Callable[[int, int], DataLoader[Batch]] | None = None

    def train_dataloader(self) -> DataLoader[Batch]:
        """The loader of this process."""
        assert self.make_loader, "the trainer's caller says where the batches come from"
        return self.make_loader(self.global_rank, self.trainer.world_size)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the method's loss terms."""
        step = Step(self.global_step, self.iterations)
        sequence = np.random.SeedSequence((self.seed, step.index, self.global_rank))
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        with float32_small_convs_on_cpu(self.device), dice_by_region(self.regions), class_sets(self.sets):
            terms = self.method.loss(channels_last_batch(batch), step)
        if not terms:
            held = " and ".join(sorted({f"{quality} samples" for quality in batch.quality}))
            raise InputError(
                f"method {type(self.method).__name__}",
                f"has nothing to learn from in a batch of {held}",
                f"compose batches as it needs: {self.method.needs}",
                code="mismatch",
            )
        self.last_terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack([term.float() for term in terms.values()]).sum()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Stop before a loss that is not finite corrupts the weights."""
        # All in one copy, the only one of a step for which the host waits: progress and log read what is copied here.
        values = torch.stack([term.double() for term in self.last_terms.values()]).cpu()
        self.last_terms = dict(zip(self.last_terms, values, strict=True))
        broken = [name for name, term in self.last_terms.items() if not torch.isfinite(term)]
        if broken:
            raise InputError(
                f"training step {self.global_step}",
                f"the loss term {' and '.join(broken)} is not finite",
                "lower `optimisation.learning_rate`, set `optimisation.clip 1`, or use `precision 32`",
                code="not-finite",
            )

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Move the weights, and teachers after them, before any callback validates or saves them."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        step = Step(self.global_step, self.iterations)
        follow_students(self.method, step.index)
        self.method.after_step(step)

    def configure_optimizers(self) -> Any:
        """One optimiser with one schedule, stepped with every batch."""
        optimiser = self.optimisation.optimiser_of(self.method)
        schedule = LambdaLR(optimiser, lambda step: self.optimisation.factor(step / self.iterations))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def channels_last(module: M) -> M:
    """A method or network with its convolution weights laid out channels last; numbers and names stay the same."""
    for dimensions, layout in CHANNELS_LAST.items():
        for parameter in module.parameters():
            if parameter.ndim == dimensions:
                parameter.data = parameter.data.contiguous(memory_format=layout)
    return module


def channels_last_batch(batch: Batch) -> Batch:
    """The batch with its images laid out channels last."""
    layout = CHANNELS_LAST[batch.image.ndim]
    return replace(batch, image=batch.image.contiguous(memory_format=layout))
