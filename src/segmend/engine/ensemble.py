"""Several trained networks that segment a scan together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.data.image import Grid
from segmend.data.preprocess import Placement
from segmend.engine.segmenter import Segmenter, restored_classes, restored_probabilities
from segmend.engine.task import Task


@dataclass(frozen=True)
class Ensemble:
    """Averages the probabilities of several segmenters, on the grid that their networks have in common.

    Attributes:
        members: segmenters with the same windows, whose tasks ``check_tasks`` has found to be one.
        largest: keep the largest component only, as in ``Segmenter``; that of the members has no effect.
    """

    members: Sequence[Segmenter]
    largest: bool | Collection[int] = False

    @property
    def task(self) -> Task:
        """What the networks were made for; each normalises intensities by its own statistics."""
        return self.members[0].task

    @property
    def stride(self) -> tuple[int, ...] | None:
        """Voxels from window to window, where it was given."""
        return self.members[0].stride

    def classes(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.uint8]:
        """Class indices of a scan as read from its files, on the scan's own grid."""
        with self._mean(image, grid) as (probabilities, placement):
            return restored_classes(probabilities, placement, self.largest)

    def probabilities(self, image: NDArray[np.float32], grid: Grid) -> Iterator[NDArray[np.float32]]:
        """The mean probability map of each class in turn, on the scan's own grid."""
        with self._mean(image, grid) as (probabilities, placement):
            yield from restored_probabilities(probabilities, placement)

    @contextmanager
    def _mean(self, image: NDArray[np.float32], grid: Grid) -> Iterator[tuple[NDArray[np.float32], Placement]]:
        """Holds the probabilities of two members at a time."""
        first, *others = self.members
        with first.prepared_probabilities(image, grid) as (total, placement):
            for other in others:
                with other.prepared_probabilities(image, grid) as (more, _):
                    for of_class, added in zip(total, more, strict=True):
                        of_class += added
            for of_class in total:
                of_class /= np.float32(len(self.members))
            yield total, placement


def check_tasks(
    tasks: Sequence[Task],
    where: object,
    word: str = "fold",
    remedy: str = "restore the folder from a copy, or train again",
) -> None:
    """Make sure that probabilities of several networks can be averaged.

    Args:
        tasks: what each was made for.
        where: the folder or argument, for the message.
        word: for one of them.
        remedy: what to do if they differ.

    Raises:
        InputError: they differ in more than the statistics of their intensities.
    """

    def compared(task: Task) -> Task:
        return replace(task, fingerprint="", preprocessing=replace(task.preprocessing, normalisations=()))

    for number, task in enumerate(tasks, start=1):
        if compared(task) != compared(tasks[0]):
            problem = f"holds runs of different tasks: that of {word} {number} is not that of {word} 1"
            raise InputError(where, problem, remedy, code="mismatch")
