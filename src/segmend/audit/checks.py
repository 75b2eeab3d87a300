"""Checks of labels without a model, each by itself and against the other cases: hints, not verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.core.case import Case
from segmend.core.grid import slice_axis
from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.core.parallel import fitting_workers, in_order
from segmend.core.progress import track
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid
from segmend.engine.folds import first_of_equal, scan_digest

_SMALL_COMPONENT_FRACTION = 0.01
"""Fraction of the volume of its class below which a separate piece is a small component."""
_AIR_INTENSITY_FRACTION = 0.05
"""Air is darker than this fraction of the range from the darkest to the brightest (99th percentile) voxel."""
_OUTSIDE_FRACTION = 0.05
"""Fraction of a class outside the body from which it is reported."""
_MIRRORING_DICE_GAIN = 0.2
"""Gain in Dice from which mirroring is suspected."""
_SMALL_VOLUME_FRACTION = 0.05
"""Fraction of the median volume below which a label has a small volume."""
_COMMON_CLASS_FRACTION = 0.9
"""Fraction of the cases that must have a class for it to count as missing in another case."""
_MIN_CASES = 5
"""Smallest number of cases that the comparison needs."""
_MIN_LATERAL_SPREAD = 0.02
"""Sideways spread, relative to the width of the scan, that is always allowed for."""


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


def check_labels(
    folder: DataFolder, cases: Sequence[Case], cores: int = 1
) -> tuple[list[Finding], dict[str, CaseSummary]]:
    """Run all checks; every case is read once.

    Args:
        folder: the data folder.
        cases: with their labels.
        cores: the most processes that work on cases at once.

    Returns:
        The findings, and a summary of each case by name.

    Raises:
        InputError: a case cannot be used.
    """
    names = list(folder.labels)
    findings: list[Finding] = []
    summaries: dict[str, CaseSummary] = {}

    def check(case: Case) -> tuple[list[Finding], CaseSummary]:
        loaded = load_case(case, folder)
        assert loaded.label is not None
        found = list(check_label(case.name, names, loaded.image, loaded.label, loaded.grid))
        return found, CaseSummary.of(loaded.image, loaded.label, loaded.grid)

    workers = fitting_workers(cores, max(map(_needed_bytes, cases), default=1))
    checked = track(in_order(check, cases, workers), "checking labels", len(cases))
    for case, (found, summary) in zip(cases, checked, strict=True):
        findings += found
        summaries[case.name] = summary
    return [*findings, *check_cohort(names, summaries)], summaries


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
    boxes = object_boxes(label)
    if not boxes:
        yield Finding(case, "", "empty", 0, "marks nothing but background")
        return
    air, axis = _air(image), slice_axis(grid)
    for index, box in boxes.items():
        mask, name = label[box] == index, names[index]
        sizes = _sizes(mask)
        total = int(mask.sum())
        small = sizes[sizes < _SMALL_COMPONENT_FRACTION * total]
        if len(small):
            detail = f"{len(small)} of {len(sizes)} pieces hold less than {_SMALL_COMPONENT_FRACTION:.0%} of it"
            yield Finding(case, name, "small_components", int(small.sum()), detail)
        outside = int(np.count_nonzero(mask & air[box]))
        if outside >= _OUTSIDE_FRACTION * total:
            yield Finding(case, name, "outside_body", outside, f"{outside / total:.0%} of it lies in air")
        if axis is not None:
            gaps = [gap + box[axis].start for gap in _gaps(mask, axis)]
            if gaps:
                yield Finding(case, name, "gap", 0, f"slices {', '.join(map(str, gaps))} along axis {axis} are empty")
    yield from _holes(case, names, label)


def object_boxes(label: NDArray[np.uint8]) -> dict[int, tuple[slice, ...]]:
    """The smallest box around each class of a label but the background.

    Args:
        label: ``[*spatial]`` class indices or ``IGNORE``.
    """
    found = ndimage.find_objects(label, IGNORE - 1)
    return {index: box for index, box in enumerate(found, start=1) if box is not None}


def find_mirroring(label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> Iterator[tuple[int, float, float]]:
    """Axes along which a label fits its prediction much better when it is mirrored, with the Dice before and after."""
    known = label != IGNORE
    objects, found = (label > 0) & known, (predicted > 0) & known
    total = max(1, int(np.count_nonzero(objects)) + int(np.count_nonzero(found)))
    before = 2 * float(np.count_nonzero((label == predicted) & objects)) / total
    for axis in range(label.ndim):
        turned = np.flip(label, axis)
        after = 2 * float(np.count_nonzero((turned == predicted) & (turned > 0) & known)) / total
        if after > before + _MIRRORING_DICE_GAIN:
            yield axis, before, after


def _needed_bytes(case: Case) -> int:
    """Memory that checking a case takes."""
    return (16 + 8 * len(case.images)) * math.prod(read_grid(case.images[0]).shape)


def _air(image: NDArray[np.float32]) -> Mask:
    """Voxels that are dark in all channels and connected to the edge of the scan."""
    dark = np.ones(image.shape[1:], dtype=bool)
    for channel in image:
        low, high = float(channel.min()), float(np.percentile(channel, 99))
        dark &= channel <= low + _AIR_INTENSITY_FRACTION * (high - low)
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
    # Background that is connected to the outside is none; what lies beyond all objects is outside.
    label = np.pad(label[bounding_box(label > 0)], 1)
    pieces, _ = ndimage.label(label == 0)
    pieces[pieces == pieces.flat[0]] = 0
    voxels: dict[int, list[int]] = {}
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        if box is None:
            continue
        around = tuple(slice(side.start - 1, side.stop + 1) for side in box)
        hole = pieces[around] == number
        rim = label[around][ndimage.binary_dilation(hole) & ~hole]
        classes = np.bincount(rim[(rim > 0) & (rim != IGNORE)], minlength=1)
        voxels.setdefault(int(classes.argmax()), []).append(int(hole.sum()))
    for index, sizes in voxels.items():
        if index:  # a hole in what is not annotated is none
            detail = f"{len(sizes)} closed in, the largest of {max(sizes)} voxels"
            yield Finding(case, names[index], "hole", sum(sizes), detail)


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """Summary of a case for the comparison with other cases.

    Attributes:
        image: digest of the scan.
        label: digest of the label; empty if it marks nothing.
        volumes: of each class present, in mm^3.
        sideways: place of the centre of each class from the patient's left (negative) to right, relative
            to the width of the scan.
    """

    image: bytes
    label: bytes
    volumes: Mapping[int, float]
    sideways: Mapping[int, float]

    @classmethod
    def of(cls, image: NDArray[np.float32], label: NDArray[np.uint8], grid: Grid) -> Self:
        """Summarise a case; arguments as in ``check_label``."""
        boxes = object_boxes(label)
        masks = {index: label[box] == index for index, box in boxes.items()}
        voxel = float(np.prod(grid.spacing))
        return cls(
            image=scan_digest(image),
            label=scan_digest(label) if boxes else b"",
            volumes={index: voxel * np.count_nonzero(mask) for index, mask in masks.items()},
            sideways={index: _lateral_position(mask, boxes[index], grid) for index, mask in masks.items()},
        )


def check_cohort(names: Sequence[str], summaries: Mapping[str, CaseSummary]) -> Iterator[Finding]:
    """Compare all cases.

    Args:
        names: of the classes, background first.
        summaries: of the cases by name.
    """
    yield from _duplicates(summaries, "same_image", lambda summary: summary.image)
    yield from _duplicates(summaries, "same_label", lambda summary: summary.label)
    for index in range(1, len(names)):
        having = {case: summary for case, summary in summaries.items() if index in summary.volumes}
        if len(having) >= _MIN_CASES:
            yield from _missing_class(names[index], summaries, having)
            yield from _small_volumes(names[index], {case: having[case].volumes[index] for case in having})
            yield from _laterality(names[index], {case: having[case].sideways[index] for case in having})


def duplicate_scans(summaries: Mapping[str, CaseSummary]) -> dict[str, str]:
    """For each case whose scan also belongs to an earlier case, the first such case."""
    return first_of_equal({case: summary.image for case, summary in summaries.items()})


def _duplicates(
    summaries: Mapping[str, CaseSummary], check: str, part: Callable[[CaseSummary], bytes]
) -> Iterator[Finding]:
    first: dict[bytes, str] = {}
    for case, summary in summaries.items():
        other = first.setdefault(part(summary), case) if part(summary) else case
        if other != case:
            yield Finding(case, "", check, 0, f"the same as of case '{other}'")


def _missing_class(
    name: str, all_cases: Mapping[str, CaseSummary], having: Mapping[str, CaseSummary]
) -> Iterator[Finding]:
    if len(having) >= _COMMON_CLASS_FRACTION * len(all_cases):
        for case, summary in all_cases.items():
            if case not in having and summary.volumes:
                yield Finding(case, name, "missing_class", 0, f"{len(having)} of {len(all_cases)} cases have it")


def _small_volumes(name: str, volumes: Mapping[str, float]) -> Iterator[Finding]:
    median = float(np.median(list(volumes.values())))
    for case, volume in volumes.items():
        if volume < _SMALL_VOLUME_FRACTION * median:
            yield Finding(case, name, "small_volume", 0, f"{volume:.3g} mm3, but the median is {median:.3g} mm3")


def _laterality(name: str, places: Mapping[str, float]) -> Iterator[Finding]:
    values = np.array(list(places.values()))
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), _MIN_LATERAL_SPREAD)
    if abs(middle) < 3 * spread:  # it lies in the middle
        return
    for case, place in places.items():
        if abs(place - middle) > 4 * spread and abs(-place - middle) < 2 * spread:
            yield Finding(case, name, "laterality", 0, "lies where its mirror image does in the other cases")


def _lateral_position(mask: Mask, box: tuple[slice, ...], grid: Grid) -> float:
    def world(places: Iterable[float]) -> float:
        return float(grid.affine[0, : grid.dimensions] @ np.array(list(places)))

    centre = world(side.start + float(axis.mean()) for side, axis in zip(box, np.nonzero(mask), strict=True))
    middle = world((side - 1) / 2 for side in grid.shape)
    width = float(np.abs(grid.affine[0, : grid.dimensions]) @ np.array(grid.shape))
    return (centre - middle) / width
