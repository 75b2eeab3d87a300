"""Regions: objects that consist of several classes and may overlap, such as a tumour with the core inside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import Mask

Regions = Mapping[str, tuple[int, ...]]
"""Name of each region to the indices of its classes; empty where each class is an object of its own."""


def objects_of(classes: Iterable[str], regions: Regions) -> dict[str, tuple[int, ...]]:
    """What is segmented and measured: the regions, or without any each class but the background.

    Args:
        classes: names, background first.
        regions: of these classes.

    Returns:
        Name of each object to the indices of its classes.
    """
    return dict(regions) or {name: (index,) for index, name in enumerate(classes) if index}


def mask_of(label: NDArray[np.integer[Any]], classes: tuple[int, ...]) -> Mask:
    """Where a label is one of several classes, ``[*spatial]``."""
    mask: Mask = label == classes[0]
    for other in classes[1:]:
        mask |= label == other
    return mask
