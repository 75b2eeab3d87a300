"""Checks of a single label without a model: hints, not verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.core.grid import slice_axis
from segmend.core.masks import IGNORE, Mask
from segmend.data.image import Grid

_SMALL_COMPONENT_FRACTION = 0.01
"""Fraction of the volume of its class below which a separate piece is a small component."""
_AIR = 0.05
"""Air is darker than this fraction of the range from the darkest to the brightest (99th percentile) voxel."""
_NOTEWORTHY = 0.05
"""Fraction of a class outside the body from which it is reported."""
_BETTER = 0.2
"""Gain in Dice from which mirroring is suspected."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A hint.

    Attributes:
        case: the case's name.
        label: name of the class; "" if it concerns all.
        check: name of the check.
        voxels: number of voxels concerned; 0 where that makes no sense.
        detail: description for the user.
    """

    case: str
    label: str
    check: str
    voxels: int
    detail: str


def check_label(
    case: str, names: Sequence[str], image: NDArray[np.float32], label: NDArray[np.uint8], grid: Grid
) -> Iterator[Finding]:
    """Check a label and its scan.

    Args:
        case: the case's name.
        names: of the classes, background first.
        image: ``[channels, *spatial]``.
        label: ``[*spatial]`` class indices or ``IGNORE``.
        grid: of both.
    """
    present = [int(index) for index in np.unique(label) if index not in (0, IGNORE)]
    if not present:
        yield Finding(case, "", "empty", 0, "marks nothing but background")
        return
    air, axis = _air(image), slice_axis(grid)
    for index in present:
        mask, name = label == index, names[index]
        sizes = _sizes(mask)
        total = int(mask.sum())
        small = sizes[sizes < _SMALL_COMPONENT_FRACTION * total]
        if len(small):
            detail = f"{len(small)} of {len(sizes)} pieces hold less than {_SMALL_COMPONENT_FRACTION:.0%} of it"
            yield Finding(case, name, "small_components", int(small.sum()), detail)
        outside = int(np.count_nonzero(mask & air))
        if outside >= _NOTEWORTHY * total:
            yield Finding(case, name, "outside_body", outside, f"{outside / total:.0%} of it lies in air")
        if axis is not None:
            gaps = _gaps(mask, axis)
            if gaps:
                yield Finding(case, name, "gap", 0, f"slices {', '.join(map(str, gaps))} along axis {axis} are empty")
    yield from _holes(case, names, label)


def mirrored(label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> Iterator[tuple[int, float, float]]:
    """Axes along which a label fits its prediction much better when it is mirrored, with the Dice before and after."""
    known = label != IGNORE
    objects, found = (label > 0) & known, (predicted > 0) & known
    total = max(1, int(np.count_nonzero(objects)) + int(np.count_nonzero(found)))
    before = 2 * float(np.count_nonzero((label == predicted) & objects)) / total
    for axis in range(label.ndim):
        turned = np.flip(label, axis)
        after = 2 * float(np.count_nonzero((turned == predicted) & (turned > 0) & known)) / total
        if after > before + _BETTER:
            yield axis, before, after


def _air(image: NDArray[np.float32]) -> Mask:
    """Voxels that are dark in all channels and connected to the edge of the scan."""
    dark = np.ones(image.shape[1:], dtype=bool)
    for channel in image:
        low, high = float(channel.min()), float(np.percentile(channel, 99))
        dark &= channel <= low + _AIR * (high - low)
    areas, _ = ndimage.label(np.pad(dark, 1, constant_values=True))
    inner = (slice(1, -1),) * dark.ndim
    air: Mask = dark & (areas[inner] == areas.flat[0])
    return air


def _sizes(mask: Mask) -> NDArray[np.int64]:
    """Voxels of each separate piece; those that touch at a corner are one."""
    pieces, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes: NDArray[np.int64] = np.bincount(pieces.ravel())[1:]
    return sizes


def _gaps(mask: Mask, axis: int) -> list[int]:
    """Empty slices between two that hold parts of one object, which overlap when laid upon each other."""
    slices = np.moveaxis(mask, axis, 0)
    drawn = np.flatnonzero(slices.any(axis=(1, 2)))
    gaps: list[int] = []
    for last, following in pairwise(drawn):
        if following > last + 1 and (slices[last] & slices[following]).any():
            gaps += range(int(last) + 1, int(following))
    return gaps


def _holes(case: str, names: Sequence[str], label: NDArray[np.uint8]) -> Iterator[Finding]:
    """Background enclosed by objects, reported for the class that touches most of it."""
    holes = ndimage.binary_fill_holes(label > 0) & (label == 0)
    pieces, _ = ndimage.label(holes)
    voxels: dict[int, list[int]] = {}
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        hole = pieces[around] == number
        rim = label[around][ndimage.binary_dilation(hole) & ~hole]
        classes = np.bincount(rim[(rim > 0) & (rim != IGNORE)], minlength=1)
        voxels.setdefault(int(classes.argmax()), []).append(int(hole.sum()))
    for index, sizes in voxels.items():
        if index:  # a hole in what is not annotated is none
            detail = f"{len(sizes)} closed in, the largest of {max(sizes)} voxels"
            yield Finding(case, names[index], "hole", sum(sizes), detail)
