"""A network that follows another one slowly."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.ramps import ema_decay
from segmend.networks import Network


class EMATeacher(nn.Module):
    """Mean teacher: an exponential moving average of the student's parameters.

    theta_t <- a theta_t + (1 - a) theta_s with a = min(1 - 1/(t + 1), decay), after each optimiser
    step (Tarvainen & Valpola, NeurIPS 2017, with the warm-up of UA-MT). Only parameters are averaged;
    buffers (batch-norm statistics) are the teacher's own, updated by its own training-mode passes.

    Args:
        student: the network to follow; it is copied, no storage is shared.
        decay: the largest a.
    """

    def __init__(self, student: Network, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.network: Network = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def follow(self, student: nn.Module, step: int) -> None:
        """Moves the teacher towards the student after optimiser step ``step``, counted from 0."""
        mine = cast(list[Tensor], list(self.network.parameters()))
        theirs = [parameter.detach() for parameter in student.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - ema_decay(step, self.decay))

    @torch.no_grad()
    def take_statistics(self, student: nn.Module) -> None:
        """Copies the student's buffers, for a teacher that has no training-mode passes to gather its own from."""
        for mine, theirs in zip(self.network.buffers(), student.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def perturbed_passes(self, image: Tensor, passes: int, noise: float = 0.1) -> Tensor:
        """Logits of several passes, each with input noise of its own and, in training mode, dropout of its own.

        One pass runs after the other, so that their activations are never in memory together.

        Args:
            image: ``[B, channels, *spatial]``.
            passes: how often each image is passed.
            noise: standard deviation of the noise, as in ``clipped_gaussian``.

        Returns:
            ``[passes, B, classes, *spatial]``, in the number format that the network computes in.
        """
        return torch.stack([self.network(clipped_gaussian(image, noise)) for _ in range(passes)])
