"""Common properties of the training scans, and the preprocessing derived from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.core.case import Split
from segmend.core.errors import InputError
from segmend.core.grid import thick_axis
from segmend.core.masks import IGNORE
from segmend.core.progress import track
from segmend.core.regions import mask_of
from segmend.data.check import LoadedCase, load_case
from segmend.data.folder import DataFolder
from segmend.data.image import Grid
from segmend.data.preprocess import Normalisation, Preprocessing

_SAMPLES_PER_CASE = 10_000
_CUT_OUT_SHARE = 0.75
_CONSISTENT = 0.95
"""Fraction of cases in which two classes keep their order, above which mirroring would confuse them."""

_APART = 0.5
"""Smallest distance of two classes' centres, relative to their extent, at which their order means anything."""

_FEWEST_PAIRS = 3


@dataclass(frozen=True)
class ClassOrder:
    """Two foreground classes that keep their order along an anatomical axis.

    Attributes:
        axis: 0 right, 1 anterior, 2 superior (2D: x and y).
        first: class index of the one at the smaller coordinate.
        second: class index of the other.
        share: fraction of the cases with both in which that is so, 0..1.
        cases: number of cases with both.
    """

    axis: int
    first: int
    second: int
    share: float
    cases: int


@dataclass(frozen=True)
class Fingerprint:
    """Properties of the training scans.

    Attributes:
        spacing: median spacing in mm along the right, anterior and superior axes (2D: x and y).
        shape: median sides along the same axes, in voxels.
        fine_spacing: tenth percentile of the spacings along the same axes, in mm.
        extent: median sides along the same axes, in mm.
        cases: number of training cases.
        annotated: number of cases that hold each object (class or region), in their order.
        order: pairs of objects that keep their order along an axis in nearly all cases.
        voxels: number of voxels of each object in all labels together, in their order.
        content: median fraction of voxels that are not 0 in all channels.
        foreground: for each channel, 0.5 and 99.5 percentile, mean and standard deviation of the
            labelled foreground; of all voxels if nothing is labelled.
    """

    spacing: tuple[float, ...]
    shape: tuple[int, ...]
    content: float
    foreground: tuple[tuple[float, float, float, float], ...]
    fine_spacing: tuple[float, ...]
    extent: tuple[float, ...]
    cases: int
    annotated: tuple[int, ...]
    order: tuple[ClassOrder, ...]
    voxels: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Fingerprint:
        """The reverse of ``dataclasses.asdict`` and JSON."""
        return cls(
            spacing=tuple(content["spacing"]),
            shape=tuple(content["shape"]),
            content=content["content"],
            foreground=tuple(tuple(statistics) for statistics in content["foreground"]),
            fine_spacing=tuple(content["fine_spacing"]),
            extent=tuple(content["extent"]),
            cases=content["cases"],
            annotated=tuple(content["annotated"]),
            order=tuple(ClassOrder(**each) for each in content["order"]),
            voxels=tuple(content["voxels"]),
        )

    def axes(self) -> tuple[int, ...]:
        """The anatomical axis that each prepared axis runs along: the one across thick slices is last."""
        return _slices_last(self.spacing)

    def shape_at(self, preprocessing: Preprocessing) -> tuple[int, ...]:
        """Median sides of the scans after preprocessing, slices last."""
        axes = _slices_last(self.spacing)
        return tuple(
            max(1, round(self.shape[axis] * self.spacing[axis] / wanted)) if wanted else self.shape[axis]
            for axis, wanted in zip(axes, preprocessing.spacing, strict=True)
        )


def take_fingerprint(folder: DataFolder) -> Fingerprint:
    """Read every training case once.

    Raises:
        InputError: there is no training case, or one cannot be used.
    """
    training = folder.select(Split.TRAIN)
    if not training:
        raise InputError(folder.root, "has no training case", "mark some as 'train' in cases.csv", code="no-data")
    spacings, shapes, contents, samples, centres = [], [], [], [], []
    voxels = np.zeros(len(folder.objects), dtype=np.int64)
    for case in track(training, "reading scans"):
        loaded = load_case(case, folder)
        axes = _anatomical_order(loaded.grid)
        spacings.append([loaded.grid.spacing[axis] for axis in axes])
        shapes.append([loaded.grid.shape[axis] for axis in axes])
        contents.append((loaded.image != 0).any(0).mean())
        samples.append(_foreground_sample(loaded))
        centres.append(_centres(loaded, list(folder.objects.values())))
        if loaded.label is not None:
            counts = np.bincount(loaded.label.ravel(), minlength=IGNORE + 1)
            voxels += [counts[list(classes)].sum() for classes in folder.objects.values()]
    values = np.concatenate(samples, axis=1)
    return Fingerprint(
        spacing=tuple(np.median(spacings, axis=0).tolist()),
        shape=tuple(int(side) for side in np.median(shapes, axis=0)),
        content=float(np.median(contents)),
        foreground=tuple(map(_statistics, values)),
        fine_spacing=tuple(np.percentile(spacings, 10, axis=0).tolist()),
        extent=tuple(np.median(np.multiply(spacings, shapes), axis=0).tolist()),
        cases=len(training),
        annotated=tuple(int(count) for count in np.isfinite(centres)[:, 1:, 0, 0].sum(0)),
        order=tuple(_orders(np.array(centres))),
        voxels=tuple(voxels.tolist()),
    )


def choose_preprocessing(
    fingerprint: Fingerprint,
    channel_names: Sequence[str],
    *,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    slices: bool = False,
) -> Preprocessing:
    """Choose one preprocessing for all scans of a data set.

    CT channels (by name) are clipped to the window of the labelled foreground and scaled by its statistics, since their
    numbers have a meaning; all others are z-scored per scan. Where most scans are cut out of an empty background
    (skull-stripped, say), the background is left out of that. Where the spacing changes, intensities are interpolated
    by cubic splines.

    Args:
        fingerprint: of the training scans.
        channel_names: from dataset.json.
        spacing: the wanted spacing in mm, the scans' own, or the median of the training scans.
        slices: scans are used slice by slice, so they are never resampled across slices.

    Raises:
        InputError: as ``check_spacing``.
    """
    check_spacing(spacing, len(fingerprint.spacing), slices=slices)
    axes = _slices_last(fingerprint.spacing)
    return Preprocessing(
        spacing=_target_spacing(spacing, [fingerprint.spacing[axis] for axis in axes], slices),
        normalisations=tuple(
            Normalisation(*statistics) if name.strip().lower() == "ct" else Normalisation()
            for name, statistics in zip(channel_names, fingerprint.foreground, strict=True)
        ),
        foreground_only=fingerprint.content < _CUT_OUT_SHARE,
        slice_axis=axes[-1],
        interpolation="cubic",
    )


def check_spacing(
    wanted: Sequence[float] | Literal["native", "auto"], dimensions: int, *, slices: bool = False
) -> None:
    """Check that a requested spacing suits the scans.

    Args:
        wanted: as in ``choose_preprocessing``.
        dimensions: of the scans.
        slices: scans are used slice by slice, so the spacing across slices may be left out.

    Raises:
        InputError: it has the wrong number of values, or one that is not positive.
    """
    if isinstance(wanted, str):
        return
    if len(wanted) not in ({dimensions, 2} if slices else {dimensions}) or min(wanted) <= 0:
        raise InputError(
            "spacing",
            f"is {' '.join(f'{value:g}' for value in wanted)}",
            f"give {dimensions} positive numbers in mm (slices last), 'native' or 'auto'",
            code="invalid-value",
        )


def _target_spacing(
    wanted: Sequence[float] | Literal["native", "auto"], median: Sequence[float], slices: bool
) -> tuple[float | None, ...]:
    if wanted == "native":
        return (None,) * len(median)
    target = tuple(median) if wanted == "auto" else tuple(float(value) for value in wanted)
    return (*target[:2], None) if slices and len(median) == 3 else target


def _slices_last(spacing: Sequence[float]) -> tuple[int, ...]:
    """Anatomical axes with the one across thick slices moved to the end."""
    axes = list(range(len(spacing)))
    thick = thick_axis(spacing)
    if thick is not None:
        axes.append(axes.pop(thick))
    return tuple(axes)


def _anatomical_order(grid: Grid) -> tuple[int, ...]:
    """The scan axis that runs along each anatomical axis."""
    if grid.dimensions == 2:
        return (0, 1)
    towards = nibabel.orientations.io_orientation(grid.affine)[:, 0]
    return tuple(int(axis) for axis in np.argsort(towards))


def _centres(loaded: LoadedCase, objects: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """Mean and standard deviation of the positions of each object, ``[1 + objects, axes, 2]`` in mm along RAS axes.

    The first row is the background's and NaN, as are those of objects that the case does not hold.
    """
    axes = _anatomical_order(loaded.grid)
    found = np.full((1 + len(objects), len(axes), 2), np.nan)
    if loaded.label is None:
        return found
    directions = np.sign([loaded.grid.affine[place, axis] for place, axis in enumerate(axes)])
    boxes = ndimage.find_objects(np.where(loaded.label == IGNORE, 0, loaded.label))
    for row, classes in enumerate(objects, start=1):
        parts = [boxes[cls - 1] for cls in classes if cls <= len(boxes) and boxes[cls - 1] is not None]
        if not parts:
            continue
        box = tuple(
            slice(min(part.start for part in side), max(part.stop for part in side))
            for side in zip(*parts, strict=True)
        )
        mask = mask_of(loaded.label[box], classes)
        for place, axis in enumerate(axes):
            voxels = mask.sum(tuple(other for other in range(mask.ndim) if other != axis))
            at = (np.arange(len(voxels)) + box[axis].start) * loaded.grid.spacing[axis] * directions[place]
            mean = np.average(at, weights=voxels)
            found[row, place] = mean, np.sqrt(np.average((at - mean) ** 2, weights=voxels))
    return found


def _orders(centres: NDArray[np.float64]) -> Iterator[ClassOrder]:
    """Pairs of classes whose centres keep their order along an axis, from ``[cases, classes, axes, 2]``."""
    for first, second in itertools.combinations(range(1, centres.shape[1]), 2):
        both = centres[np.isfinite(centres[:, [first, second], 0, 0]).all(1)]
        if len(both) < _FEWEST_PAIRS:
            continue
        for axis in range(centres.shape[2]):
            apart = both[:, second, axis, 0] - both[:, first, axis, 0]
            widths = np.hypot(both[:, first, axis, 1], both[:, second, axis, 1])
            share = float((apart > 0).mean())
            # Classes around one centre differ by chance: their order says nothing about left and right.
            if np.median(np.abs(apart)) < _APART * np.median(widths) or 1 - _CONSISTENT < share < _CONSISTENT:
                continue
            pair = (first, second) if share >= _CONSISTENT else (second, first)
            yield ClassOrder(axis, *pair, max(share, 1 - share), len(both))


def _statistics(sample: NDArray[np.floating[Any]]) -> tuple[float, float, float, float]:
    """0.5 and 99.5 percentile, mean and standard deviation; always finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.percentile(sample, [0.5, 99.5]).tolist()
        statistics = (low, high, float(sample.mean()), float(sample.std()))
    if np.isfinite(statistics).all() or sample.dtype == np.float64:
        return statistics
    return _statistics(sample.astype(np.float64))  # 32 bits hold the intensities, but not their squares


def _foreground_sample(loaded: LoadedCase) -> NDArray[np.float32]:
    """Intensities ``[channels, n]`` of evenly spaced foreground voxels."""
    flat = loaded.image.reshape(len(loaded.image), -1)
    if loaded.label is not None:
        chosen = np.flatnonzero((loaded.label > 0) & (loaded.label != IGNORE))
        if chosen.size:
            flat = flat[:, chosen]
    picks = np.linspace(0, flat.shape[1] - 1, min(flat.shape[1], _SAMPLES_PER_CASE)).astype(np.int64)
    sample: NDArray[np.float32] = flat[:, picks]
    return sample
