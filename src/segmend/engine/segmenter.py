"""A trained method applied to whole scans."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmend.core.os_errors import explain_os_errors
from segmend.core.precision import Precision, autocast
from segmend.data.image import Grid
from segmend.data.preprocess import Placement
from segmend.engine.learner import CHANNELS_LAST
from segmend.engine.task import Task
from segmend.inference import (
    Predictor,
    Weighting,
    flip_averaged,
    largest_component,
    predict_classes,
    predict_probabilities,
    predict_slices,
    resample_argmax,
    resample_map,
    tempered,
)
from segmend.methods import Method

_IN_MEMORY_BYTES = 2**30
"""Probabilities beyond this size go through a temporary file."""


class _Windows(TypedDict):
    patch: tuple[int, ...]
    stride: tuple[int, ...]
    batch: int
    weighting: Weighting
    device: torch.device


@dataclass(frozen=True)
class Segmenter:
    """Segments scans with a method in evaluation mode.

    Attributes:
        method: a trained method, on its device.
        task: what it was trained for.
        overlap: fraction of a window that the next one covers; ``stride`` overrules it.
        stride: voxels from window to window along each prepared axis (the papers use 18 18 4).
        weighting: of the voxels of a window.
        flips: average over flips along all axes, or along those that the plan of the run mirrors; or along these axes
            of a window.
        temperature: calibrates the probabilities of every window, ``p^(1/T)`` relative to its sum over the classes;
            above 1 makes them less certain. 1 leaves them as they are.
        largest: keep the largest component only: of each class (True), or of classes by index.
        precision: of the network.
        batch: windows predicted at once; by default one on a CPU in 3D, where more are no faster, and four elsewhere.
    """

    method: Method
    task: Task
    overlap: float = 0.5
    stride: tuple[int, ...] | None = None
    weighting: Weighting = "gaussian"
    flips: bool | tuple[int, ...] = False
    largest: bool | Collection[int] = False
    precision: Precision = "auto"
    batch: int | None = None
    temperature: float = 1.0

    def prepared_classes(self, image: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Class indices ``[*spatial]`` of a prepared image ``[channels, *spatial]``, on its own grid."""
        return self._cleaned(predict_classes(torch.tensor(image), self._predict, **self._windows(image.ndim - 1)))

    def classes(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.uint8]:
        """Class indices of a scan as read from its files, on the scan's own grid."""
        placement = self.task.preprocessing.place(image, grid)
        prepared = self.task.preprocessing.image(image, grid, placement)
        if prepared.shape[1:] == placement.box_shape:
            return placement.restore(self.prepared_classes(prepared))
        with self._prepared_probabilities(prepared) as probabilities:
            return restored_classes(probabilities, placement, self.largest)

    def probabilities(self, image: NDArray[np.float32], grid: Grid) -> Iterator[NDArray[np.float32]]:
        """The probability map of each class in turn, on the scan's own grid; 1 for background outside."""
        with self.prepared_probabilities(image, grid) as (probabilities, placement):
            yield from restored_probabilities(probabilities, placement)

    @contextmanager
    def prepared_probabilities(
        self, image: NDArray[np.float32], grid: Grid
    ) -> Iterator[tuple[NDArray[np.float32], Placement]]:
        """The probabilities ``[C, *prepared]`` of a scan on the grid of its prepared image, and where that lies."""
        placement = self.task.preprocessing.place(image, grid)
        with self._prepared_probabilities(self.task.preprocessing.image(image, grid, placement)) as probabilities:
            yield probabilities, placement

    def maps(self, image: NDArray[np.float32], function: Predictor) -> NDArray[np.float32]:
        """What a function of windows ``[B, channels, *patch]`` makes of a prepared image, ``[K, *spatial]``.

        It is called as the method is for a prediction: same windows, weighting and number format.
        """
        predict = partial(self._predict, function=function)
        return predict_probabilities(torch.tensor(image), predict, **self._windows(image.ndim - 1))

    @contextmanager
    def _prepared_probabilities(self, image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        shape = (len(self.task.labels), *image.shape[1:])
        large = 4 * math.prod(shape) > _IN_MEMORY_BYTES
        with _temporary_array(shape) if large else nullcontext() as out:
            yield predict_probabilities(torch.tensor(image), self._predict, out=out, **self._windows(image.ndim - 1))

    def _cleaned(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return cleaned(classes, self.largest)

    def _windows(self, axes: int) -> _Windows:
        patch = self.task.patch
        stride = self.stride or tuple(max(1, round(side * (1 - self.overlap))) for side in patch)
        across = (1,) * (axes - len(patch))
        device = next(self.method.parameters()).device
        return {
            "patch": (*patch, *across),
            "stride": (*(min(step, side) for step, side in zip(stride, patch, strict=True)), *across),
            "batch": (1 if device.type == "cpu" and len(patch) == 3 else 4) if self.batch is None else self.batch,
            "weighting": self.weighting,
            "device": device,
        }

    def _predict(self, image: Tensor, function: Predictor | None = None) -> Tensor:
        predict: Predictor = partial(self._predict_patch, function=function or self.method.predict)
        if self.flips:
            known = self.flips if isinstance(self.flips, tuple) else self.task.mirroring
            predict = flip_averaged(predict, range(len(self.task.patch)) if known is None else known)
        if self.temperature != 1:
            predict = tempered(predict, self.temperature)
        if image.ndim - 2 > len(self.task.patch):
            predict = predict_slices(predict)
        return predict(image)

    def _predict_patch(self, image: Tensor, function: Predictor) -> Tensor:
        with autocast(self.precision, image.device):
            return function(image.contiguous(memory_format=CHANNELS_LAST[image.ndim]))


def cleaned(classes: NDArray[np.uint8], largest: bool | Collection[int]) -> NDArray[np.uint8]:
    """Class indices ``[*spatial]`` after post-processing; ``largest`` as ``Segmenter`` takes it."""
    return largest_component(classes, None if largest is True else largest) if largest else classes


def restored_classes(
    probabilities: NDArray[np.float32], placement: Placement, largest: bool | Collection[int]
) -> NDArray[np.uint8]:
    """The most probable class on the scan's own grid, of probabilities ``[C, *prepared]``."""
    return placement.restore(cleaned(resample_argmax(probabilities, placement.box_shape), largest))


def restored_probabilities(probabilities: NDArray[np.float32], placement: Placement) -> Iterator[NDArray[np.float32]]:
    """The map of each class in turn on the scan's own grid, of probabilities ``[C, *prepared]``."""
    for index, of_class in enumerate(probabilities):
        yield placement.restore(resample_map(np.array(of_class), placement.box_shape), float(index == 0))


@contextmanager
def _temporary_array(shape: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
    """A float32 array in a temporary file, which loses its name at once: nothing stays if the process is killed."""
    place = Path(tempfile.gettempdir())
    with explain_os_errors(place):
        descriptor, name = tempfile.mkstemp()
    file = Path(name)
    try:
        with explain_os_errors(place), os.fdopen(descriptor, "r+b") as stream:
            if hasattr(os, "posix_fallocate"):  # on a full disk, writing to a mapped file would end the process
                os.posix_fallocate(stream.fileno(), 0, 4 * math.prod(shape))
            else:
                stream.truncate(4 * math.prod(shape))
            array: NDArray[np.float32] = np.memmap(file, np.float32, "r+", shape=shape)
            if os.name == "posix":
                file.unlink()
        yield array
    finally:
        with suppress(OSError):
            file.unlink()
