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
    slices = given.shape[axis]
    changed = np.nonzero((given != proposed) & (given != IGNORE))
    before, after, at = given[changed], proposed[changed], changed[axis]
    found, unchanged = {}, []
    for name, index in classes.items():
        counts = np.bincount(at[(before == index) | (after == index)], minlength=slices)
        if counts.any():
            found[name] = int(counts.argmax())
        else:
            unchanged.append(name)
    if unchanged:
        sizes = _sizes(given, axis)
        for name in unchanged:
            of_class = sizes[:, classes[name]]
            found[name] = int(of_class.argmax()) if of_class.any() else slices // 2
    return found


def _sizes(label: NDArray[np.uint8], axis: int) -> NDArray[np.intp]:
    """Voxels of each class index in each slice, ``[slices, 256]``."""
    return np.stack([np.bincount(part.ravel(), minlength=256) for part in np.moveaxis(label, axis, 0)])
