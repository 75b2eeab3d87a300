"""Values of the arrays of other programs, which are used only if they are probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import Mask

_TOLERANCE = 0.01
"""Largest rounding error by which a probability may lie outside 0..1."""
_SUM_TOLERANCE = 0.05
"""Largest rounding error of the sum over the classes, which is 1; float16 stays within 0.005."""
_REMEDY = "export them after softmax, for every class"


@dataclass(frozen=True)
class CheckedMaps:
    """Summary of all maps of a scan, which are probabilities.

    Attributes:
        predicted: most probable class ``[*axes]``, along the axes of the maps.
        outside: where all classes are 0: beyond the box that nnU-Net crops scans to; None if nowhere.
    """

    predicted: NDArray[np.uint8]
    outside: Mask | None


def check_probabilities(path: Path, names: Sequence[str], maps: Iterable[NDArray[Any]]) -> CheckedMaps:
    """Check the maps of all classes of a scan.

    Args:
        path: the file, to name it in errors.
        names: of the classes.
        maps: the map ``[*axes]`` of each class in turn.

    Raises:
        InputError: they are not probabilities of mutually exclusive classes; the message says what they seem to be.
    """
    total: NDArray[np.float32] | None = None
    for index, (name, of_class) in enumerate(zip(names, maps, strict=True)):
        _check_values(path, name, of_class)
        values = of_class.astype(np.float32)
        if total is None:
            total, highest, predicted = values, values.copy(), np.zeros(values.shape, np.uint8)
            continue
        total += values
        above = values > highest
        predicted[above] = index
        np.maximum(highest, values, out=highest)
    assert total is not None
    outside = total == 0
    if outside.all():
        raise _no_probabilities(path, "0 everywhere, for every class")
    low, high = float(total[~outside].min()), float(total.max())
    if max(1 - low, high - 1) > _SUM_TOLERANCE:
        regions = "; each class seems to have a sigmoid of its own (regions), or one is missing"
        raise _no_probabilities(path, f"classes that sum up to {low:.3g} to {high:.3g}, not to 1{regions}")
    return CheckedMaps(predicted, outside if outside.any() else None)


def to_probability(index: int, of_class: NDArray[Any], outside: Mask | None) -> NDArray[np.float32]:
    """Return the map of a class within 0..1; background has probability 1 where all classes were 0.

    Args:
        index: of the class.
        of_class: its map.
        outside: as of ``CheckedMaps``.
    """
    values = of_class.astype(np.float32).clip(0, 1)
    if index == 0 and outside is not None:
        values[outside] = 1
    return values


def _check_values(path: Path, name: str, of_class: NDArray[Any]) -> None:
    low, high = float(of_class.min()), float(of_class.max())
    if low >= -_TOLERANCE and high <= 1 + _TOLERANCE:  # comparisons with NaN are false
        return
    found = f"values from {low:.4g} to {high:.4g} in the class '{name}'"
    if np.isnan(low) or np.isnan(high):
        raise InputError(
            path, f"holds no probabilities, but {found}", "find out where the model fails", code="invalid-value"
        )
    if of_class.dtype.kind in "iu" and low >= 0:
        remedy = f"divide them by {np.iinfo(of_class.dtype).max}, or by what they were multiplied with"
        raise _no_probabilities(path, f"{found}: whole numbers ({of_class.dtype}), as if scaled", remedy)
    if low >= 0:
        raise _no_probabilities(path, f"{found}, as if scaled or not normalised")
    if high <= 0:
        raise _no_probabilities(path, f"{found}: they seem to be logarithms")
    raise _no_probabilities(path, f"{found}: they seem to be logits")


def _no_probabilities(path: Path, found: str, remedy: str = _REMEDY) -> InputError:
    return InputError(path, f"holds no probabilities, but {found}", remedy, code="invalid-value")
