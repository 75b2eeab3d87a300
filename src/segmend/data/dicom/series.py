"""Image series: from slices or the frames of an enhanced object to one volume with its place in the patient.

The geometry is that of DICOM PS3.3 C.7.6.2.1.1: the position of a slice's first voxel, the directions of its rows and
columns, and the distances of its voxels, in LPS millimetres. Slices are sorted along the normal of the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from segmend.core.errors import InputError
from segmend.core.grid import PLACE_TOLERANCE, Grid, checked_grid
from segmend.data.container import require_room
from segmend.data.dicom.objects import ImageFiles, quiet_reading, read_header
from segmend.data.itk import LPS_TO_RAS

_MISSING = 1.5
"""Distance of two slices, in those of most slices, from which on a slice is missing between them."""

_SAME_PLACE = 0.01
"""Distance of two slices, in those of most slices, below which they lie at one place."""

_SAME_DIRECTION = 1e-3
"""Largest difference of the direction cosines of two slices of a volume."""


@dataclass(frozen=True)
class Slice:
    """One slice of a volume: an instance, or a frame of one.

    Attributes:
        path: the file.
        instance: its SOPInstanceUID.
        sop_class: its SOPClassUID.
        frame: index of the frame from 0, or None if the file holds one slice.
        shape: voxels along x (columns) and y (rows).
        position: ``[3]``, centre of the first voxel in LPS mm.
        axes: ``[3, 2]``, steps to the next column and to the next row in LPS mm.
        thickness: distance to the next slice in mm as the header says; used where there is no next slice.
        slope: of the rescaling from stored values.
        intercept: of the rescaling from stored values.
    """

    path: Path
    instance: str
    sop_class: str
    frame: int | None
    shape: tuple[int, int]
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    thickness: float
    slope: float
    intercept: float

    @property
    def normal(self) -> NDArray[np.float64]:
        """``[3]``, unit vector across the slice, so that columns, rows and slices are right-handed."""
        across = np.cross(self.axes[:, 0], self.axes[:, 1])
        normal: NDArray[np.float64] = across / np.linalg.norm(across)
        return normal


@dataclass(frozen=True)
class Series:
    """An image series whose slices fill a volume.

    Attributes:
        files: where it was found, and its names.
        slices: in the order of the volume's last axis.
        grid: of the volume; columns are x and rows are y.
        frame_of_reference: FrameOfReferenceUID; "" if there is none.
    """

    files: ImageFiles
    slices: tuple[Slice, ...]
    grid: Grid
    frame_of_reference: str = ""

    @property
    def lps(self) -> NDArray[np.float64]:
        """``[4, 4]``, voxel index to LPS mm."""
        return LPS_TO_RAS @ self.grid.affine

    def indices_of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS millimetres ``[n, 3]`` as voxel indices ``[n, 3]``, x, y and z."""
        inverse = np.linalg.inv(self.lps)
        indices: NDArray[np.float64] = points @ inverse[:3, :3].T + inverse[:3, 3]
        return indices

    @property
    def rescales(self) -> bool:
        """Whether stored values are rescaled: not those of MR, unless the scale differs between slices."""
        scales = {(piece.slope, piece.intercept) for piece in self.slices}
        return self.files.modality != "MR" or len(scales) > 1

    def read(self) -> NDArray[Any]:
        """The voxels ``[x, y, z]``: int16 or int32 where all values are whole numbers, float32 otherwise.

        Raises:
            InputError: a file is damaged, or its compression cannot be decoded, or there is not enough memory.
        """
        whole = not self.rescales or all(
            piece.slope.is_integer() and piece.intercept.is_integer() for piece in self.slices
        )
        require_room(self.slices[0].path, 4 * int(np.prod(self.grid.shape)))
        volume = np.empty(self.grid.shape, np.int32 if whole else np.float32)
        for index, piece in enumerate(self.slices):
            values: NDArray[Any] = stored_values(piece).T
            if self.rescales and whole:
                values = values.astype(np.int64) * int(piece.slope) + int(piece.intercept)
            elif self.rescales:
                values = values.astype(np.float64) * piece.slope + piece.intercept
            volume[..., index] = values
        small = np.iinfo(np.int16)
        if whole and volume.min() >= small.min and volume.max() <= small.max:
            return volume.astype(np.int16)
        return volume


def read_series(files: ImageFiles) -> Series:
    """Read the headers of a series and place its slices.

    If the series is compressed, one slice is decoded, so that a compression that cannot be decoded is found early.

    Raises:
        InputError: a file cannot be read, slices are missing, lie at one place or are not parallel, or their
            compression cannot be decoded.
    """
    slices: list[Slice] = []
    is_compressed, frame_of_reference = False, ""
    for path in sorted(files.files.values()):
        header = read_header(path)
        with quiet_reading(path):
            slices += _slices(path, header)
            frame_of_reference = str(header.get("FrameOfReferenceUID") or "")
            is_compressed = is_compressed or header.file_meta.TransferSyntaxUID.is_compressed
    ordered = _ordered(slices)
    if is_compressed:
        stored_values(ordered[0])
    return Series(files, tuple(ordered), _grid(ordered), frame_of_reference)


def stored_values(piece: Slice) -> NDArray[np.integer]:
    """The values of a slice as they are in the file, ``[rows, columns]``.

    SimpleITK decodes what pydicom cannot, such as lossless JPEG.

    Raises:
        InputError: the file is damaged, or its compression cannot be decoded.
    """
    try:
        with quiet_reading(piece.path):
            values: NDArray[np.integer] = pixel_array(piece.path, index=piece.frame, raw=True)
    except InputError as error:
        if not isinstance(error.__cause__, (RuntimeError, NotImplementedError)):
            raise
        values = _decoded_by_itk(piece)
    if values.shape != piece.shape[::-1]:
        raise InputError(
            piece.path, f"holds {values.shape} values, not its rows and columns", "export it again", code="damaged"
        )
    return values


def _decoded_by_itk(piece: Slice) -> NDArray[np.integer]:
    try:
        image = SimpleITK.ReadImage(str(piece.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        syntax = read_header(piece.path, ["SOPClassUID"]).file_meta.TransferSyntaxUID
        raise InputError(
            piece.path,
            f"cannot be decoded: its transfer syntax is {syntax.name}, or it is damaged",
            "decompress the series, for example by gdcmconv or dcmdjpeg",
            code="unsupported",
        ) from error
    rescaled = SimpleITK.GetArrayFromImage(image)[piece.frame or 0]
    values: NDArray[np.int32] = np.rint((rescaled - piece.intercept) / piece.slope).astype(np.int32)
    return values


def _slices(path: Path, header: Any) -> Iterator[Slice]:
    if "SharedFunctionalGroupsSequence" not in header:
        yield _slice(path, header, None, header, header, header, header)
        return
    shared = header.SharedFunctionalGroupsSequence[0]
    for frame, own in enumerate(header.PerFrameFunctionalGroupsSequence):
        groups = [
            functional_group(name, own, shared)
            for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures", "PixelValueTransformation")
        ]
        yield _slice(path, header, frame, *groups)


def functional_group(name: str, own: Any, shared: Any) -> Any:
    """A functional group of a frame, from its own or the shared ones; an empty one if there is none.

    Args:
        name: of the group's sequence, without ``Sequence``.
        own: the item of the frame in PerFrameFunctionalGroupsSequence.
        shared: the item of SharedFunctionalGroupsSequence.
    """
    sequence = own.get(f"{name}Sequence") or shared.get(f"{name}Sequence")
    return sequence[0] if sequence else {}


def _slice(
    path: Path, header: Any, frame: int | None, place: Any, orientation: Any, measures: Any, values: Any
) -> Slice:
    needed = {
        "ImagePositionPatient": place.get("ImagePositionPatient"),
        "ImageOrientationPatient": orientation.get("ImageOrientationPatient"),
        "PixelSpacing": measures.get("PixelSpacing"),
    }
    for name, value in needed.items():
        if not value:
            where = "" if frame is None else f" of frame {frame + 1}"
            raise InputError(path, f"has no {name}{where}", "export it again, or remove it", code="missing-value")
    cosines = np.array(needed["ImageOrientationPatient"], dtype=np.float64).reshape(2, 3)
    between_rows, between_columns = (float(distance) for distance in needed["PixelSpacing"])
    return Slice(
        path=path,
        instance=str(header.SOPInstanceUID),
        sop_class=str(header.SOPClassUID),
        frame=frame,
        shape=(int(header.Columns), int(header.Rows)),
        position=np.array(needed["ImagePositionPatient"], dtype=np.float64),
        axes=(cosines * [[between_columns], [between_rows]]).T,
        thickness=float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1.0),
        slope=float(values.get("RescaleSlope") or 1.0),
        intercept=float(values.get("RescaleIntercept") or 0.0),
    )


def _ordered(slices: Sequence[Slice]) -> list[Slice]:
    """The slices along their normal.

    Raises:
        InputError: they differ in size or direction, lie at one place, or some are missing.
    """
    first = slices[0]
    for other in slices[1:]:
        drift = np.abs(other.axes - first.axes).max() / np.linalg.norm(first.axes, axis=0).min()
        if other.shape != first.shape or drift > _SAME_DIRECTION:
            problem = f"has another size, spacing or direction than {first.path.name} of the same series"
            raise InputError(other.path, problem, "remove it, or import the series apart", code="mismatch")
    ordered = sorted(slices, key=lambda piece: float(piece.position @ first.normal))
    if len(ordered) == 1:
        return ordered
    steps = np.diff([float(piece.position @ first.normal) for piece in ordered])
    usual = float(np.median(steps))
    for step, below, above in zip(steps, ordered, ordered[1:], strict=False):
        if step <= _SAME_PLACE * usual or usual <= 0:
            problem = f"lies at the place of {_named(below)} of the same series, as with time points or echoes"
            raise InputError(above.path, problem, "keep one slice for each place", code="unsupported")
        if step > _MISSING * usual:
            lacking = max(1, round(step / usual) - 1)
            problem = f"misses {lacking} slice{'s' * (lacking > 1)} between this and {_named(below)}: the distance is "
            problem += f"{step:.4g} mm, that of most slices {usual:.4g} mm"
            raise InputError(above.path, problem, "export the whole series", code="missing-file")
    return ordered


def _grid(ordered: Sequence[Slice]) -> Grid:
    first, last, count = ordered[0], ordered[-1], len(ordered)
    step = (last.position - first.position) / (count - 1) if count > 1 else first.normal * first.thickness
    lps = np.eye(4)
    lps[:3, :2], lps[:3, 2], lps[:3, 3] = first.axes, step, first.position
    tolerance = PLACE_TOLERANCE * min(np.linalg.norm(lps[:3, :3], axis=0))
    for index, piece in enumerate(ordered):
        apart = float(np.linalg.norm(piece.position - first.position - index * step))
        if apart > tolerance:
            problem = f"lies {apart:.3g} mm from where it would be if the slices were equally spaced"
            raise InputError(piece.path, problem, "resample the series to one spacing", code="unsupported")
    return checked_grid(first.path, (*first.shape, count), LPS_TO_RAS @ lps)


def _named(piece: Slice) -> str:
    return piece.path.name + ("" if piece.frame is None else f" (frame {piece.frame + 1})")
