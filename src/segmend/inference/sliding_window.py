"""Prediction of scans of any size by a predictor of windows of one size: slab by slab, or put together.

Probabilities of overlapping windows are averaged, as UA-MT and PLIL (uniform) and nnU-Net (Gaussian) do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmend.core.errors import InputError, did_you_mean
from segmend.inference.predictors import Predictor, zero_padded
from segmend.inference.slabs import Slab, SlabSums
from segmend.inference.windows import Weighting, WindowGrid


def sliding_window(
    image: Tensor,
    predict: Predictor,
    *,
    patch: tuple[int, ...],
    stride: tuple[int, ...],
    batch: int = 4,
    weighting: Weighting = "uniform",
    device: torch.device | str = "cpu",
) -> Iterator[Slab]:
    """Predict a scan slab by slab along the axis on which it is the longest in windows.

    A slab is returned as soon as no later window touches it. If it is then released, memory holds about one window's
    length of the scan, in all classes, and not the whole scan. A scan that is smaller than the window is padded with
    zeros on both sides, and the prediction cropped again.

    Args:
        image: ``[channels, *spatial]`` float, 2D or 3D, on the CPU.
        predict: called in inference mode with ``batch`` windows (the last time, with what is left) on ``device``.
        patch: sides of a window.
        stride: voxels from window to window along each axis, at most ``patch``.
        batch: number of windows predicted at once.
        weighting: whether voxels near the centre of a window count more.
        device: where ``predict`` wants its windows; the slabs are there too if there is room for them.

    Returns:
        Slabs that together cover the scan, in ascending order; the same for every ``batch``.

    Raises:
        InputError: patch, stride, batch or weighting cannot be used.
    """
    _check(image, patch, stride, batch, weighting)
    shape = tuple(image.shape[1:])
    window = tuple(min(side, length) for side, length in zip(patch, shape, strict=True))
    if window != tuple(patch):
        predict = zero_padded(predict, patch)
    grid = WindowGrid(shape, window, tuple(stride))
    return _slabs(image, predict, grid, batch, weighting, torch.device(device))


def predict_classes(
    image: Tensor,
    predict: Predictor,
    *,
    patch: tuple[int, ...],
    stride: tuple[int, ...],
    batch: int = 4,
    weighting: Weighting = "uniform",
    device: torch.device | str = "cpu",
) -> NDArray[np.uint8]:
    """The most probable class of each voxel, ``[*spatial]``; arguments as in ``sliding_window``.

    Raises:
        InputError: as in ``sliding_window``; the predictor gives NaN.
    """
    classes = np.empty(image.shape[1:], np.uint8)
    slabs = sliding_window(image, predict, patch=patch, stride=stride, batch=batch, weighting=weighting, device=device)
    for where, probabilities in slabs:
        _require_numbers(probabilities)
        classes[where] = probabilities.argmax(0).to(torch.uint8).cpu().numpy()
    return classes


def predict_probabilities(
    image: Tensor,
    predict: Predictor,
    *,
    patch: tuple[int, ...],
    stride: tuple[int, ...],
    batch: int = 4,
    weighting: Weighting = "uniform",
    device: torch.device | str = "cpu",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Class probabilities ``[C, *spatial]`` of a scan; arguments and errors as in ``predict_classes``.

    They are written to the array ``out`` of that shape (a ``numpy.memmap``, say, if they are larger than the
    memory), which is returned, or to a new one.
    """
    if out is not None and out.shape[1:] != image.shape[1:]:
        raise InputError(
            "out",
            f"has shape {out.shape}",
            f"give an array [C, {', '.join(map(str, image.shape[1:]))}]",
            code="mismatch",
        )
    slabs = sliding_window(image, predict, patch=patch, stride=stride, batch=batch, weighting=weighting, device=device)
    for where, probabilities in slabs:
        _require_numbers(probabilities)
        if out is None:
            out = np.empty((len(probabilities), *image.shape[1:]), np.float32)
        out[:, *where] = probabilities.cpu().numpy()
    assert out is not None, "every scan has a slab"
    return out


def _slabs(
    image: Tensor, predict: Predictor, grid: WindowGrid, batch: int, weighting: Weighting, device: torch.device
) -> Iterator[Slab]:
    corners = grid.corners()
    sums: SlabSums | None = None
    for first in range(0, len(corners), batch):
        group = corners[first : first + batch]
        windows = torch.stack([image[:, *grid.window(corner)] for corner in group])
        if device.type == "cuda":
            windows = windows.pin_memory()  # or the copy to the device would wait for all work there
        with torch.inference_mode():
            predicted = predict(windows.to(device, non_blocking=True))
        sums = sums or SlabSums(grid, weighting, predicted.shape[1], device)
        for corner, probabilities in zip(group, predicted, strict=True):
            yield from sums.complete(corner[grid.long_axis])
            sums.add(corner, probabilities)
    if sums:
        yield from sums.complete(grid.shape[grid.long_axis])


def _check(image: Tensor, patch: Sequence[int], stride: Sequence[int], batch: int, weighting: str) -> None:
    axes = image.ndim - 1
    for name, sides in (("patch", patch), ("stride", stride)):
        if len(sides) != axes:
            raise InputError(
                name, f"is {tuple(sides)} for a scan of {axes} axes", "give one number for each axis", code="mismatch"
            )
    if not all(1 <= step <= side for step, side in zip(stride, patch, strict=True)):
        raise InputError(
            "stride",
            f"is {tuple(stride)} for windows of {tuple(patch)}",
            "give 1 up to the window's side on each axis",
            code="invalid-value",
        )
    if batch < 1:
        raise InputError("batch", f"is {batch}", "give 1 or more", code="invalid-value")
    if weighting not in get_args(Weighting):
        raise InputError(
            "weighting", f"is '{weighting}'", did_you_mean(weighting, get_args(Weighting)), code="unknown-name"
        )


def _require_numbers(probabilities: Tensor) -> None:
    if not torch.isfinite(probabilities.sum()):
        raise InputError(
            "network",
            "predicts values that are not numbers (NaN or infinite)",
            "take another checkpoint, or train again with a lower `optimisation.learning_rate`",
            code="not-finite",
        )
