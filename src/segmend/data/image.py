"""Reading and writing scans and labels, whatever their format.

Arrays are in x, y, z order throughout and in the computer's byte order, whatever the file's own orders are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.grid import PLACE_TOLERANCE, Grid
from segmend.core.io import atomic_file
from segmend.data import itk, nifti, png, tiff
from segmend.data.container import explained, require_room

__all__ = [
    "ENDINGS",
    "NIFTI",
    "PICTURES",
    "PLACE_TOLERANCE",
    "Grid",
    "case_name",
    "is_image_file",
    "read_grid",
    "read_image",
    "read_label",
    "write_label",
    "write_map",
]

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".tif", ".tiff")
"""Endings of 2D formats without a position in the patient; their resolution is often that of a printer."""
ENDINGS = (*NIFTI, ".mha", ".nrrd", *PICTURES)
"""File endings that are read and written."""

_ROUNDING = 1e-3
"""Largest distance of a label value from a whole number: formats with a scale or 32-bit floats round it."""

_LARGEST_EXACT = 2**53

Pieces = Iterator[tuple[slice, NDArray[Any]]]
"""Parts of a scan: the range along its last axis, and ``[channels, *spatial]`` of it."""


def case_name(path: Path) -> str:
    """File name without its ending.

    Raises:
        InputError: the ending is not one of ``ENDINGS``.
    """
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    raise InputError(
        path, "has an ending that is not read", f"convert it to one of {', '.join(ENDINGS)}", code="unsupported"
    )


def is_image_file(path: Path) -> bool:
    """Whether the name has an ending that is read, and is not hidden."""
    return path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")


def read_image(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read intensities.

    Returns:
        ``[channels in the file, *spatial]`` float32 and the grid.

    Raises:
        InputError: missing, unreadable or truncated file, one that is not what its name or header says, more than
            three spatial dimensions, or more voxels than there is memory for.
    """
    with explained(path):
        grid, channels, _, pieces = _open(path, as_label=False)
        require_room(path, 4 * channels * _voxels(grid))
        # Memory that is never written to is never taken: a file of zeros, however large, costs none.
        image = np.zeros((channels, *grid.shape), dtype=np.float32)
        with np.errstate(over="ignore"):  # values out of range become infinite, which the checks report
            for where, piece in pieces:
                values = np.asarray(piece, dtype=np.float32)
                if values.view(np.uint32).any():
                    image[..., where] = values
        return image, grid


def read_label(path: Path) -> tuple[NDArray[np.integer], Grid]:
    """Read label values as they are in the file.

    Returns:
        ``[*spatial]`` of an integer type and the grid. Values within 0.001 of whole numbers are rounded.

    Raises:
        InputError: as in ``read_image``; several channels; values that are not whole numbers.
    """
    with explained(path):
        grid, channels, dtype, pieces = _open(path, as_label=True)
        if channels != 1:
            raise InputError(
                path,
                f"has {channels} channels, a label has one",
                "save it as a single-channel image",
                code="unsupported",
            )
        require_room(path, dtype.itemsize * _voxels(grid))
        label: NDArray[np.integer] | None = None
        has_content = False
        for where, piece in pieces:
            values = _whole(path, piece[0], where.start)
            has_content = has_content or bool(piece.any())
            if label is None:
                label = np.zeros(grid.shape, dtype=values.dtype)
            if values.any():
                label[..., where] = values
        assert label is not None, "every grid has a voxel"
        if has_content and not label.any():  # a scale that is too small, or a map of low probabilities
            problem = f"holds values that are not whole numbers, but fractions below {_ROUNDING:g} only"
            raise InputError(path, problem, "save the label as integers", code="invalid-value")
        return label, grid


def read_grid(path: Path) -> Grid:
    """Read the header only, and compare it with the size of the file.

    Raises:
        InputError: missing or unreadable file, one that cannot hold what its header claims, or more than three
            spatial dimensions.
    """
    case_name(path)
    name = path.name.lower()
    with explained(path):
        if name.endswith(NIFTI):
            return nifti.read_header(path).grid
        if name.endswith(".png"):
            return png.read_grid(path)
        return tiff.read_grid(path) if name.endswith(PICTURES) else itk.read_grid(path)


def write_label(path: Path, label: NDArray[np.integer], like: Path) -> None:
    """Writes label values over the scan or label ``like``: same header, same place.

    Args:
        path: the file to write; its ending chooses the format.
        label: ``[*spatial]``, on the grid of ``like``; written as uint8, or as the smallest type that holds all values.
        like: the file whose geometry is kept.

    Raises:
        InputError: the file cannot be written, or the format holds no such values.
    """
    _write(path, label.astype(_label_type(int(label.min(initial=0)), int(label.max(initial=0)))), like)


def write_map(path: Path, values: NDArray[np.floating[Any]], like: Path) -> None:
    """Writes a float32 map ``[*spatial]`` over the scan or label ``like``."""
    _write(path, values.astype(np.float32), like)


def _open(path: Path, *, as_label: bool) -> tuple[Grid, int, np.dtype[Any], Pieces]:
    """Grid, channels, type in the file, and the voxels."""
    case_name(path)
    name = path.name.lower()
    if name.endswith(NIFTI):
        header = nifti.read_header(path)
        _require_numbers(path, header.dtype)
        return header.grid, 1, header.dtype, ((where, piece[None]) for where, piece in nifti.pieces(header))
    if name.endswith(PICTURES):
        read = png.read if name.endswith(".png") else tiff.read
        array, grid = read(path, as_label=as_label)
        return grid, len(array), array.dtype, itk.planes_of(array)
    require_room(path, _voxels(itk.read_grid(path)))
    grid, channels, dtype, pieces = itk.read(path)
    _require_numbers(path, dtype)
    return grid, channels, dtype, pieces


def _require_numbers(path: Path, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf":
        raise InputError(
            path, "holds colours or complex numbers", "save it with one plain number per voxel", code="unsupported"
        )


def _voxels(grid: Grid) -> int:
    return math.prod(grid.shape)


def _whole(path: Path, values: NDArray[Any], first: int) -> NDArray[np.integer]:
    """Values as integers; ``first`` is the plane at which they start, for the message."""
    if values.dtype.kind in "biu":
        return values.astype(np.uint8) if values.dtype.kind == "b" else values
    with np.errstate(invalid="ignore"):
        rounded = np.rint(values)
        wrong = ~((np.abs(values - rounded) <= _ROUNDING) & (np.abs(values) < _LARGEST_EXACT))
    if wrong.any():
        voxel = np.array(np.unravel_index(int(np.argmax(wrong)), values.shape))
        value = values[tuple(voxel)]
        voxel[-1] += first
        raise InputError(
            path,
            f"holds values that are not whole numbers, such as {value:g} at voxel {tuple(voxel.tolist())}",
            "save the label as integers",
            code="invalid-value",
        )
    whole: NDArray[np.int64] = rounded.astype(np.int64)
    return whole


def _label_type(low: int, high: int) -> type[np.integer]:
    """The smallest type that every format may know: unsigned ones of more than 16 bits are rare."""
    kinds = (np.uint8, np.uint16, np.int32, np.int64) if low >= 0 else (np.int16, np.int32, np.int64)
    return next((kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max), np.uint64)


def _write(path: Path, array: NDArray[Any], like: Path) -> None:
    grid = read_grid(like)
    if array.shape != grid.shape:
        raise ValueError(f"array of shape {array.shape} does not lie on the grid of {like}, which is {grid.shape}")
    with atomic_file(path) as temporary:
        if path.name.lower().endswith(NIFTI):
            nibabel.save(_nifti_like(array, like, grid), temporary)
        else:
            _save_itk(itk.image_like(array, grid), temporary, path)


def _nifti_like(array: NDArray[Any], like: Path, grid: Grid) -> nibabel.Nifti1Image:
    if not like.name.lower().endswith(NIFTI):
        return nibabel.Nifti1Image(array, grid.affine)
    return nifti.image_like(array, nifti.header_like(like))


def _save_itk(image: SimpleITK.Image, temporary: Path, path: Path) -> None:
    try:
        SimpleITK.WriteImage(image, str(temporary), useCompression=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        remedy = "make sure that there is space, that you may write there, and that the format holds such values"
        raise InputError(path, f"cannot be written ({reason})", remedy, code="not-writable") from error
