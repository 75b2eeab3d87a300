"""The slice to show first: where a proposal changes most, or where the object is largest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import IGNORE


def first_slices(
    given: NDArray[np.uint8], proposed: NDArray[np.uint8], classes: Mapping[str, int], axis: int
) -> dict[str, int]:
    """For each class, the slice with the most voxels that the proposal adds to it or removes from it.

    Where it changes nothing, the slice with most of the object; without an object, the slice in the middle.

    Args:
        given: class indices ``[x, y, z]`` of the label.
        proposed: those of the proposal.
        classes: indices by name.
        axis: across the slices.
    """
    before, after = np.moveaxis(given, axis, 0), np.moveaxis(proposed, axis, 0)
    changes, sizes = np.zeros((2, len(before), 256), np.intp)
    for number, (was, will_be) in enumerate(zip(before, after, strict=True)):
        sizes[number] = _sizes(was)
        changed = (was != will_be) & (was != IGNORE)
        if changed.any():
            changes[number] = _sizes(was[changed]) + _sizes(will_be[changed])
    found = {}
    for name, index in classes.items():
        counts = next((each[:, index] for each in (changes, sizes) if each[:, index].any()), None)
        found[name] = len(before) // 2 if counts is None else int(counts.argmax())
    return found


def _sizes(label: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Number of voxels of each class index, ``[256]``; the background is not counted."""
    flat = label.ravel("K")
    return np.bincount(flat, minlength=256) if flat.any() else np.zeros(256, np.intp)
