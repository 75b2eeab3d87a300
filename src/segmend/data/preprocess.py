"""From a scan on disk to the input array of a network, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import bounding_box
from segmend.data.image import Grid
from segmend.functional.resampling import resample_image, resample_label
from segmend.functional.soft_labels import renormalised
from segmend.functional.splines import resample_spline

Interpolation = Literal["linear", "cubic"]
"""How intensities are interpolated where the spacing changes."""

THICK_SLICES = 3.0
"""Slices more than this many times as thick as voxels are wide hold too little to interpolate across by splines, and
their spacing is planned by itself."""

_LEVELS = 1024
"""Steps of an interpolated intensity within one standard deviation; a scan of 4000 grey values has fewer."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How the intensities of one channel are normalised.

    Attributes:
        low: intensities below are raised to it; None leaves them.
        high: intensities above are lowered to it.
        mean: subtracted; None takes the scan's own mean.
        sd: divided by; None takes the scan's own standard deviation.
    """

    low: float | None = None
    high: float | None = None
    mean: float | None = None
    sd: float | None = None

    def apply(self, channel: NDArray[np.float32], counted: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Normalises ``[*spatial]``; the scan's own statistics are taken over the ``counted`` voxels.

        If none are counted, all become 0, and if all have one value, this becomes 0.
        """
        channel = channel if self.low is None and self.high is None else np.clip(channel, self.low, self.high)
        sample = channel if counted is None else channel[counted]
        if not sample.size:
            return np.zeros_like(channel)
        mean = sample.mean(dtype=np.float64) if self.mean is None else self.mean
        sd = sample.std(dtype=np.float64) if self.sd is None else self.sd
        result = ((channel - mean) / max(sd, 1e-8)).astype(np.float32)
        return result if counted is None else result * counted


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a prepared array lies in its scan.

    Attributes:
        order: scan axis that each prepared axis comes from.
        flipped: whether each prepared axis runs against its scan axis.
        shape: sides of the whole reoriented scan.
        box: first and last-plus-one voxel of the prepared part along each reoriented axis.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    shape: tuple[int, ...]
    box: tuple[tuple[int, int], ...]

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Sides of the prepared part, in voxels of the scan."""
        return tuple(last - first for first, last in self.box)

    def restore(self, array: NDArray[Any], outside: float = 0) -> NDArray[Any]:
        """Put ``[*box_shape]`` back onto the scan's own grid, with ``outside`` around it."""
        whole = np.full(self.shape, outside, dtype=array.dtype)
        whole[tuple(slice(first, last) for first, last in self.box)] = array
        whole = np.flip(whole, tuple(axis for axis, flipped in enumerate(self.flipped) if flipped))
        return np.ascontiguousarray(np.transpose(whole, np.argsort(self.order)))


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing applied to every scan of a data set.

    In this order: axes are brought to right-anterior-superior order (``slice_axis`` last), intensities
    are normalised, the empty border is cut off, and the rest is resampled.

    Attributes:
        spacing: millimetres between voxels along each prepared axis; None keeps the scan's own.
        normalisations: one for each channel.
        foreground_only: intensity statistics leave out voxels that are 0 in all channels, and these stay 0.
        slice_axis: the right-anterior-superior axis that is put last: across the slices.
        interpolation: of intensities. "cubic" is by cubic splines, clipped to the range of each channel, linear across
            slices more than 3 times as thick as voxels are wide, and rounded to 1/1024 standard deviations, so that the
            cache can compress it. Runs that were trained by linear interpolation predict by it.
    """

    spacing: tuple[float | None, ...]
    normalisations: tuple[Normalisation, ...]
    foreground_only: bool = False
    slice_axis: int = 2
    interpolation: Interpolation = "linear"

    def place(self, image: NDArray[np.float32], grid: Grid) -> Placement:
        """Determine orientation and border of a scan ``[channels, *spatial]``, from its image alone.

        The border is the part that is 0 in every channel; a scan that is 0 throughout is not cropped.
        """
        order, flipped = _orientation(grid, self.slice_axis)
        reoriented = _reorient(image, order, flipped)
        content = (reoriented != 0).any(0)
        box = bounding_box(content) if content.any() else tuple(slice(0, side) for side in content.shape)
        return Placement(order, flipped, content.shape, tuple((part.start, part.stop) for part in box))

    def target_shape(self, placement: Placement, grid: Grid) -> tuple[int, ...]:
        """Sides of the prepared array."""
        own = [grid.spacing[axis] for axis in placement.order]
        return tuple(
            side if wanted is None else max(1, round(side * spacing / wanted))
            for side, spacing, wanted in zip(placement.box_shape, own, self.spacing, strict=True)
        )

    def spacing_on(self, grid: Grid) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis of the prepared array."""
        order, _ = _orientation(grid, self.slice_axis)
        return tuple(
            grid.spacing[axis] if wanted is None else wanted for axis, wanted in zip(order, self.spacing, strict=True)
        )

    def require_room(self, path: Path, grid: Grid, channels: int) -> None:
        """Check that a scan does not become larger than the memory, as with a spacing of metres.

        Args:
            path: the scan, for the message.
            grid: of the scan.
            channels: of the scan.

        Raises:
            InputError: the prepared image would take more memory than is free.
        """
        order = list(_orientation(grid, self.slice_axis)[0])
        own, wanted = np.array(grid.spacing)[order], np.array(self.spacing_on(grid))
        voxels = float(np.prod(np.array(grid.shape)[order] * own / wanted))
        needed, free = 4 * channels * voxels, psutil.virtual_memory().available
        if needed > free:
            spacings = " to ".join(
                " x ".join(f"{side:.3g}" for side in spacing) for spacing in (own[list(order)], wanted)
            )
            raise InputError(
                path,
                f"takes {needed / 2**30:.3g} GiB of memory once it is resampled from {spacings} mm, "
                f"and {free / 2**30:.1f} GiB are free",
                "correct the spacing in its header, or train with a larger `spacing`",
                code="too-large",
            )

    def image(self, image: NDArray[np.float32], grid: Grid, placement: Placement) -> NDArray[np.float32]:
        """The prepared image ``[channels, *target_shape]``; normalised only, where the spacing stays."""
        image = _reorient(image, placement.order, placement.flipped)
        counted = (image != 0).any(0) if self.foreground_only else None
        normalised = [rule.apply(channel, counted) for rule, channel in zip(self.normalisations, image, strict=True)]
        inside = np.ascontiguousarray(np.stack(normalised)[slice(None), *_slices(placement)])
        shape = self.target_shape(placement, grid)
        if self.interpolation == "linear" or inside.shape[1:] == shape:
            return resample_image(inside, shape)
        resampled = resample_spline(inside, shape, self._thick_axes(placement, grid))
        np.multiply(resampled, _LEVELS, out=resampled)
        return np.divide(np.rint(resampled, out=resampled), _LEVELS, out=resampled)

    def resamples(self, grid: Grid) -> bool:
        """Whether a scan may have another number of voxels once it is prepared, by its header."""
        order, _ = _orientation(grid, self.slice_axis)
        whole = Placement(
            order, (), tuple(grid.shape[axis] for axis in order), tuple((0, grid.shape[a]) for a in order)
        )
        return self.target_shape(whole, grid) != whole.box_shape

    def _thick_axes(self, placement: Placement, grid: Grid) -> list[int]:
        """Prepared axes across thick slices, of the scan or of what it becomes."""
        own, wanted = [grid.spacing[axis] for axis in placement.order], self.spacing_on(grid)
        thick = (max(old / min(own), new / min(wanted)) > THICK_SLICES for old, new in zip(own, wanted, strict=True))
        return [axis for axis, is_thick in enumerate(thick) if is_thick]

    def label(self, label: NDArray[np.uint8], grid: Grid, placement: Placement) -> NDArray[np.uint8]:
        """The prepared label ``[*target_shape]``."""
        inside = _reorient(label[None], placement.order, placement.flipped)[0][_slices(placement)]
        return resample_label(np.ascontiguousarray(inside), self.target_shape(placement, grid))

    def maps(self, maps: NDArray[np.float32], grid: Grid, placement: Placement) -> NDArray[np.float32]:
        """The prepared soft label ``[C, *target_shape]`` of one that sums to 1 over the classes, or to 0 where unknown.

        Each class is interpolated linearly; voxels that are unknown by half or more become unknown.
        """
        inside = (slice(None), *_slices(placement))
        maps = np.ascontiguousarray(_reorient(maps, placement.order, placement.flipped)[inside])
        return renormalised(torch.from_numpy(resample_image(maps, self.target_shape(placement, grid)))[None])[0].numpy()


def _slices(placement: Placement) -> tuple[slice, ...]:
    return tuple(slice(first, last) for first, last in placement.box)


def _orientation(grid: Grid, slice_axis: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Scan axis and direction of each prepared axis."""
    if grid.dimensions == 2:
        return (0, 1), (False, False)
    towards = nibabel.orientations.io_orientation(grid.affine)
    scan_axis = {int(anatomical): axis for axis, (anatomical, _) in enumerate(towards)}
    anatomical_axes = [*[axis for axis in range(3) if axis != slice_axis], slice_axis]
    order = tuple(scan_axis[axis] for axis in anatomical_axes)
    return order, tuple(bool(towards[axis, 1] < 0) for axis in order)


def _reorient(array: NDArray[Any], order: Sequence[int], flipped: Sequence[bool]) -> NDArray[Any]:
    array = np.transpose(array, (0, *[axis + 1 for axis in order]))
    return np.flip(array, tuple(axis + 1 for axis, against in enumerate(flipped) if against))
