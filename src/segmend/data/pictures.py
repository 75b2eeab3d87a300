"""Common parts of PNG and TIFF pictures. They have no spacing in millimetres: a pixel counts as 1 mm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.grid import Grid
from segmend.data.container import unreadable
from segmend.data.itk import LPS_TO_RAS

ORIENTATION = 274
"""Tag of EXIF and TIFF; 1 says that a picture is upright."""


def picture_grid(size: tuple[int, int]) -> Grid:
    """The grid of a picture of some width and height."""
    return Grid(size, LPS_TO_RAS @ np.eye(4))


def indices_of(path: Path, indices: NDArray[Any], palette: list[int]) -> NDArray[Any]:
    """The indices of a picture ``[y, x]``, unless the greys of its palette might be meant instead."""
    colours = np.array(palette).reshape(-1, 3)
    if indices.max() >= len(colours):
        raise unreadable(path, "it has pixels of colours that its palette lacks")
    used = np.unique(indices)
    if (colours[used] == colours[used, :1]).all() and not (colours[used, 0] == used).all():
        raise InputError(
            path,
            "has a palette of greys that are not its indices, so either may be the labels",
            "save it as a grey picture without a palette",
            code="unsupported",
        )
    return np.transpose(indices)[None]


def without_alpha(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """An array without its last channel, which must be the same everywhere."""
    alpha = array[-1]
    if alpha.min() != alpha.max():
        raise InputError(
            path,
            "has an alpha channel that is not the same everywhere",
            "save it without transparency",
            code="unsupported",
        )
    return array[:-1]


def require_upright(path: Path, tags: Any) -> None:
    """Check that no tag of EXIF or TIFF says that the picture must be rotated."""
    turned = tags.get(ORIENTATION, 1)
    if turned != 1:
        raise InputError(
            path,
            f"says that it is to be turned to be seen (orientation {turned})",
            "save it upright",
            code="unsupported",
        )
