"""The label convention, and masks of single objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError

IGNORE = 255
"""Label value of a voxel whose class is unknown; it never contributes to a loss."""

DICE_OF_NOTHING = 1.0
"""Dice and Jaccard of two empty masks, everywhere: there is nothing to find, and nothing was found."""

Mask = NDArray[np.bool_]
"""One object: true inside, ``[*spatial]``."""


def check_masks(prediction: Mask, reference: Mask) -> None:
    """Check that two masks can be compared voxel by voxel.

    Without it, NumPy would broadcast unequal shapes and read integer labels bit by bit, both silently.

    Raises:
        InputError: they are not boolean or not of one shape.
    """
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if mask.dtype != np.bool_:
            raise InputError(
                name, f"is of type {mask.dtype}, not bool", "give a mask, such as label == 1", code="invalid-value"
            )
    if prediction.shape != reference.shape:
        raise InputError(
            "prediction",
            f"has shape {prediction.shape}, but the reference has {reference.shape}",
            "give both on one grid",
            code="mismatch",
        )


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around all voxels of a mask that is not empty.

    Args:
        mask: ``[*spatial]``.
        margin: voxels by which the box is enlarged on every side, within the array.
    """
    filled = np.flatnonzero(mask.any(axis=tuple(range(1, mask.ndim))))
    own = slice(max(filled[0] - margin, 0), min(filled[-1] + 1 + margin, len(mask)))
    return (own, *bounding_box(np.logical_or.reduce(mask[own]), margin)) if mask.ndim > 1 else (own,)


def box_above(values: NDArray[Any], least: float) -> tuple[slice, ...] | None:
    """The smallest box around all values of a map that are larger than ``least``; None if there is none.

    Most classes fill a small part of a scan, and only that needs arithmetic.

    Args:
        values: ``[*spatial]``, none of them negative or NaN if they are float16.
        least: 0 or more.
    """
    half = values.dtype == np.float16  # the bits of positive numbers have the same order, and compare much faster
    above = values.view(np.uint16) > np.float16(least).view(np.uint16) if half else values > least
    return bounding_box(above) if above.any() else None
