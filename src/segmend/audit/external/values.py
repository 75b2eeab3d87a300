"""Values of the arrays of other programs, which are used only if they are probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import Mask, box_above

_TOLERANCE = 0.01
"""Largest rounding error by which a probability may lie outside 0..1."""
_SUM_TOLERANCE = 0.05
"""Largest rounding error of the sum over the classes, which is 1; float16 stays within 0.005."""
_NEGLIGIBLE = 0.001
"""What the probabilities of all classes together may be that are not looked at."""
_REMEDY = "export them after softmax, for every class"


ClassMaps = Iterable[tuple[int, NDArray[Any]]]
"""Index and map ``[*axes]`` of each class, in any order; read when they are looked at, so that one is in memory."""


def check_probabilities(path: Path, names: Sequence[str], maps: ClassMaps) -> NDArray[np.uint8]:
    """Check the maps of all classes of a scan.

    Args:
        path: the file, to name it in errors.
        names: of the classes.
        maps: of all classes.

    Returns:
        The most probable class ``[*axes]``, along the axes of the maps; background where all are 0, which is beyond
        the box that nnU-Net crops scans to.

    Raises:
        InputError: they are not probabilities of mutually exclusive classes; the message says what they seem to be.
    """
    negligible = _NEGLIGIBLE / len(names)
    total: NDArray[np.float32] | None = None
    for index, of_class in maps:
        _check_values(path, names[index], of_class)
        if total is None:
            total, highest = np.zeros((2, *of_class.shape), np.float32)
            predicted = np.zeros(of_class.shape, np.uint8)
        box = box_above(of_class, negligible)
        if box is None:
            continue
        values = of_class[box].astype(np.float32)
        total[box] += values
        above = values > highest[box]
        predicted[box][above] = index
        np.maximum(highest[box], values, out=highest[box])
    assert total is not None
    within = total > 0
    if not within.any():
        raise _no_probabilities(path, "0 everywhere, for every class")
    low, high = float(total.min(where=within, initial=np.inf)), float(total.max())
    if max(1 - low, high - 1) > _SUM_TOLERANCE:
        regions = "; each class seems to have a sigmoid of its own (regions), or one is missing"
        raise _no_probabilities(path, f"classes that sum up to {low:.3g} to {high:.3g}, not to 1{regions}")
    return predicted


def with_background(maps: ClassMaps) -> Iterator[tuple[int, NDArray[Any]]]:
    """The maps of all classes within 0..1, that of background last: its probability is 1 where all of them are 0.

    Args:
        maps: that were checked.
    """
    background: NDArray[np.float32] | None = None
    objects: Mask | None = None
    for index, of_class in maps:
        if objects is None:
            objects = np.zeros(of_class.shape, dtype=bool)
        box = box_above(of_class, 0)
        if box is not None:
            objects[box] |= of_class[box] > 0
        if index == 0:
            background = of_class.astype(np.float32).clip(0, 1)
        else:
            yield index, of_class if _in_range(of_class) else of_class.clip(0, 1)
    assert background is not None
    assert objects is not None
    background[~objects] = 1
    yield 0, background


def _check_values(path: Path, name: str, of_class: NDArray[Any]) -> None:
    if _in_range(of_class):
        return
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


def _in_range(of_class: NDArray[Any]) -> bool:
    """Whether all values are quickly found to lie within 0..1; those of a negative number have the highest bits."""
    return of_class.dtype == np.float16 and of_class.view(np.uint16).max() <= np.float16(1).view(np.uint16)


def _no_probabilities(path: Path, found: str, remedy: str = _REMEDY) -> InputError:
    return InputError(path, f"holds no probabilities, but {found}", remedy, code="invalid-value")
