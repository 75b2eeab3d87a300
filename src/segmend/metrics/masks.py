"""What every metric asks of the two masks that it compares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segmend.errors import InputError

Mask = NDArray[np.bool_]
"""One object: true inside, ``[*spatial]``."""


def check_masks(prediction: Mask, reference: Mask) -> None:
    """Makes sure that two masks can be compared voxel by voxel.

    Without it, NumPy would broadcast unequal shapes and read integer labels bit by bit, both silently.

    Raises:
        InputError: they are not boolean or not of one shape.
    """
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if mask.dtype != np.bool_:
            raise InputError(name, f"is of type {mask.dtype}, not bool", "give a mask, such as label == 1")
    if prediction.shape != reference.shape:
        raise InputError(
            "prediction",
            f"has shape {prediction.shape}, but the reference has {reference.shape}",
            "give both on one grid",
        )
