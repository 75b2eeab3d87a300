"""NIfTI files: nibabel parses the header, and the voxels are read piece by piece.

The header is accepted only if the file confirms it: a file holds the voxels that its header describes, no fewer and no
more.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.grid import Grid, checked_grid, is_usable
from segmend.data.container import (
    FIRST_BYTES,
    GZIP,
    NIFTI,
    contradicts,
    opened,
    require_kind,
    require_length,
    require_possible,
    unreadable,
)

_PIECE_BYTES = 2**25
_SILENT = logging.Logger("nibabel's own remarks")
_SILENT.addHandler(logging.NullHandler())
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_BY_SIZE = {
    struct.pack(f"{order}i", size): (size, order) for size in (348, 540) for order in ("<", ">")
}  # first four bytes of NIfTI 1 and 2
_NO_PLACE = "does not say how it lies in the patient (qform_code and sform_code are 0), so x was taken to point left"
_UNITS = {1: "metres", 3: "micrometres"}


@dataclass(frozen=True)
class NiftiHeader:
    """The header of a NIfTI file.

    Attributes:
        path: the file.
        raw: nibabel's header.
        grid: where the voxels lie.
        offset: bytes before the first voxel.
        channels: volumes along the last axis of a file of several channels; 1 for all others.
    """

    path: Path
    raw: Any
    grid: Grid
    offset: int
    channels: int = 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels in the file."""
        return cast("np.dtype[Any]", self.raw.get_data_dtype())

    @property
    def payload(self) -> int:
        """Bytes of all voxels."""
        voxels = self.channels
        for side in self.grid.shape:
            voxels *= side  # Python's integers, as 64 bits may overflow
        return voxels * self.dtype.itemsize


def read_header(path: Path, *, channels: bool = False) -> NiftiHeader:
    """Read the header and compare it with the size of the file.

    Args:
        path: the file.
        channels: take a fourth axis for that of the channels; otherwise a file with four axes is refused.

    Raises:
        InputError: the file is missing, is no NIfTI file or cannot hold what its header claims.
    """
    with opened_stream(path) as (stream, compressed):
        header = _header(path, stream.read(FIRST_BYTES), channels=channels)
        claimed, held = header.offset + header.payload, path.stat().st_size
        (require_possible if compressed else require_length)(path, claimed, held)
        return header


def pieces(header: NiftiHeader) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The voxels in their unit, ``[*spatial]``, in the computer's byte order, some planes at a time.

    Returns:
        Range along the last axis, and the planes.

    Raises:
        InputError: the file is damaged, or holds more or less than its header says.
    """
    shape, dtype = header.grid.shape, header.dtype
    plane = header.payload // shape[-1]
    planes = max(1, _PIECE_BYTES // plane)
    slope, inter = header.raw.get_slope_inter()
    with opened_stream(header.path) as (stream, _):
        skip(header.path, stream, header.offset)
        for first in range(0, shape[-1], planes):
            last = min(first + planes, shape[-1])
            content = stream.read(plane * (last - first))
            if len(content) < plane * (last - first):
                raise unreadable(header.path)
            stored = np.frombuffer(content, dtype).reshape(*shape[:-1], last - first, order="F")
            native = stored.astype(dtype.newbyteorder("="), copy=False)
            yield (
                slice(first, last),
                apply_read_scaling(native, np.float64(1 if slope is None else slope), np.float64(inter or 0)),
            )
        if stream.read(1):  # this also compares the checksum, which follows the last voxel
            raise contradicts(header.path, "it holds more voxels than its header describes")


def header_like(path: Path) -> Any:
    """A copy of a file's header for a new file: same byte order, place, units and extensions.

    Raises:
        InputError: as ``read_header``.
    """
    known = read_header(path)
    with opened_stream(path) as (stream, _):
        start = stream.read(known.offset)
        header = type(known.raw).from_fileobj(io.BytesIO(start), endianness=known.raw.endianness, check=False)
        header.check_fix(logger=_SILENT, error_level=40)
        return header


def image_like(array: NDArray[Any], header: Any) -> nibabel.Nifti1Image:
    """An image with a header of ``header_like``, which its values fit whatever those of the scan were."""
    header.set_data_dtype(array.dtype)
    header["cal_min"], header["cal_max"] = 0, 0  # the scan's display window would hide the labels
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    return kind(array.reshape(header.get_data_shape()), None, header)


@contextmanager
def opened_stream(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The bytes of a NIfTI file, decompressed if it is compressed, whatever its name says; and whether it is."""
    named = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
    with opened(path) as file:
        kind = require_kind(path, file.read(FIRST_BYTES), GZIP, NIFTI, named=named)
        file.seek(0)
        if kind != GZIP:
            yield file, False
            return
        with gzip.open(file) as stream:
            if require_kind(path, stream.read(FIRST_BYTES), NIFTI, GZIP, named=named) == GZIP:
                raise InputError(path, "is compressed twice", "unpack it once with gunzip", code="unsupported")
        file.seek(0)
        with gzip.open(file) as stream:
            yield cast("IO[bytes]", stream), True


def _header(path: Path, start: bytes, *, channels: bool) -> NiftiHeader:
    size, order = _BY_SIZE.get(start[:4], (0, ""))
    kind = nibabel.Nifti2Header if size == 540 else nibabel.Nifti1Header
    if not size or len(start) < size:
        raise unreadable(path)
    raw = kind(start[:size], endianness=order, check=False)
    magic = raw["magic"].item()
    if magic[:3] in (b"ni1", b"ni2"):
        raise contradicts(path, "it is the header of a pair of files (.hdr and .img); save both as one .nii.gz file")
    if magic[:3] != (b"n+2" if size == 540 else b"n+1"):
        raise contradicts(path, "it has no NIfTI signature; it may be an Analyze file")
    dimensions, stored = int(raw["dim"][0]), raw["pixdim"][1:4].astype(np.float64)
    if not 1 <= dimensions <= 7 or raw["dim"][1 : dimensions + 1].min() < 1:
        raise InputError(
            path, "has a header without a usable shape and affine", "export the file again", code="damaged"
        )
    offset = _offset(path, raw, size + 4)
    try:
        raw.check_fix(logger=_SILENT, error_level=40)
        raw.get_slope_inter()
    except HeaderDataError as error:
        raise contradicts(path, f"its header says {error}") from error
    shape = tuple(int(side) for side in raw["dim"][1 : dimensions + 1])
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    spatial = shape[:3] if channels and len(shape) == 4 else shape
    return NiftiHeader(path, raw, _grid(path, raw, spatial, stored), offset, math.prod(shape[len(spatial) :]))


def _offset(path: Path, raw: Any, least: int) -> int:
    offset = float(raw["vox_offset"])
    if not (offset >= least and offset == round(offset)):
        raise contradicts(path, f"its voxels are said to start at byte {offset:g}, but start at {least} or later")
    return int(offset)


def skip(path: Path, stream: IO[bytes], left: int) -> None:
    """Read some bytes and forget them; a compressed file cannot be searched."""
    while left:
        content = stream.read(min(left, _PIECE_BYTES))
        if not content:
            raise unreadable(path)
        left -= len(content)


def _grid(path: Path, raw: Any, shape: tuple[int, ...], pixdim: NDArray[np.float64]) -> Grid:
    unit = int(raw["xyzt_units"]) & 7
    if unit not in _MM:
        raise contradicts(path, f"its spatial unit has the code {unit}, which NIfTI does not define")
    affine, assumptions = _affine(path, raw, shape, pixdim)
    if _MM[unit] != 1:
        affine = np.diag([_MM[unit]] * 3 + [1.0]) @ affine
        assumptions = (*assumptions, f"is in {_UNITS[unit]}, which were converted to mm")
    return checked_grid(path, shape, affine, assumptions)


def _affine(
    path: Path, raw: Any, shape: tuple[int, ...], pixdim: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The sform if it can be used, otherwise the qform; without any, the spacing alone."""
    sform = np.asarray(raw.get_sform(), dtype=np.float64) if raw["sform_code"] > 0 else None
    if sform is not None and (is_usable(sform) or raw["qform_code"] <= 0):
        return sform, ()
    sides = [step for step, side in zip(pixdim, shape, strict=False) if side > 1]
    if not all(np.isfinite(step) and step > 0 for step in sides):
        listed = " x ".join(f"{step:g}" for step in pixdim)
        raise contradicts(path, f"its header has no usable shape and affine: its voxel spacing is {listed}")
    if raw["qform_code"] > 0:
        qform = np.asarray(raw.get_qform(), dtype=np.float64)
        if sform is None or not is_usable(qform):
            return qform, ()
        return qform, ("has an unusable sform, so its qform was used",)
    note = "does not say how it lies in the patient (qform_code and sform_code are 0), so x was taken to point left"
    return np.asarray(raw.get_base_affine(), dtype=np.float64), (note,)
