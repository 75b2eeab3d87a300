"""Sliding-window predictions put together on the grid of the scan."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmend.core.errors import InputError
from segmend.inference.predictors import Predictor
from segmend.inference.sliding_window import sliding_window
from segmend.inference.windows import Weighting


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


def _require_numbers(probabilities: Tensor) -> None:
    if not torch.isfinite(probabilities.sum()):
        raise InputError(
            "network",
            "predicts values that are not numbers (NaN or infinite)",
            "take another checkpoint, or train again with a lower `optimisation.learning_rate`",
            code="not-finite",
        )
