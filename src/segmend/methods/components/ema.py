"""A network that follows another one slowly."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from segmend.functional.consistency import squared_difference
from segmend.functional.losses import probabilities
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.ramps import ema_decay
from segmend.networks import Network


class EMATeacher(nn.Module):
    """Mean teacher: an exponential moving average of the student's parameters.

    theta_t <- a theta_t + (1 - a) theta_s with a = min(1 - 1/(t + 1), decay), after each optimiser
    step (Tarvainen & Valpola, NeurIPS 2017, with the warm-up of UA-MT). The learner has every teacher of a method
    follow, see ``follow_students``. Only parameters are averaged; buffers (batch-norm statistics) are by default the
    teacher's own, updated by its own training-mode passes.

    Args:
        student: the network to follow; it is copied, no storage is shared.
        decay: the largest a.
        copy_statistics: copy the student's buffers at each step, for a teacher without training-mode passes.
    """

    def __init__(self, student: Network, decay: float = 0.99, *, copy_statistics: bool = False) -> None:
        super().__init__()
        self.decay, self.copy_statistics = decay, copy_statistics
        self.network: Network = copy.deepcopy(student).requires_grad_(False)
        self._student = (student,)  # in a tuple it is no sub-module, which would be saved and trained twice

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the student after optimiser step ``step``, counted from 0."""
        (student,) = self._student
        mine = cast(list[Tensor], list(self.network.parameters()))
        theirs = [parameter.detach() for parameter in student.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - ema_decay(step, self.decay))
        if self.copy_statistics:
            for own, other in zip(self.network.buffers(), student.buffers(), strict=True):
                own.copy_(other)

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities ``[B, C, *spatial]`` float32 of images ``[B, channels, *spatial]``; without gradient."""
        return probabilities(self.network(image))

    def inconsistency(self, logits: Tensor, image: Tensor, noise: float) -> Tensor:
        """Squared difference of the student's probabilities to the teacher's for a noisier image.

        Args:
            logits: of the student, ``[B, C, *spatial]``.
            image: ``[B, channels, *spatial]``.
            noise: standard deviation of the noise, as in ``clipped_gaussian``.

        Returns:
            ``[B, *spatial]``, the mean over the classes.
        """
        return squared_difference(probabilities(logits), self.predict(clipped_gaussian(image, noise)))

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


def follow_students(module: nn.Module, step: int) -> None:
    """Have every EMA teacher within a module follow its student after optimiser step ``step``, counted from 0."""
    for part in module.modules():
        if isinstance(part, EMATeacher):
            part.follow(step)
