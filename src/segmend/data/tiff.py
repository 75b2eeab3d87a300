"""TIFF pictures: tifffile reads the header, and the reader of the pixels depends on how they are stored."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK
import tifffile
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from segmend.core.errors import InputError
from segmend.core.grid import Grid
from segmend.data.container import (
    FIRST_BYTES,
    TIFF,
    contradicts,
    opened,
    require_deflated,
    require_kind,
    require_length,
    require_possible,
    unreadable,
)
from segmend.data.itk import array_of
from segmend.data.pictures import ORIENTATION, indices_of, picture_grid, require_upright, without_alpha

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_COLOURS = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR)
_ALPHA = (1, 2)
_RATIO = 4096
"""Maximum compression ratio of any TIFF picture, except white pages of fax, which are small."""
_SMALL = 2**26
_DEFLATE, _PACKBITS = (8, 32946), 32773

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # damaged files end in exceptions


def read_grid(path: Path) -> Grid:
    """Read the header.

    Raises:
        InputError: the file is missing, is of another format, holds several pictures or says how to turn it.
    """
    with opened(path) as file:
        return picture_grid(_page(path, file)[1])


def _page(path: Path, file: IO[bytes]) -> tuple[Any, tuple[int, int]]:
    """The only page of a TIFF file, once it is known to hold what it claims, and its width and height."""
    require_kind(path, file.read(FIRST_BYTES), TIFF, named=path.suffix.lower())
    file.seek(0)
    pages = tifffile.TiffFile(file).pages
    if len(pages) > 1:
        raise InputError(
            path,
            "is a stack of pictures without a voxel spacing",
            "convert it to .nii.gz, .mha or .nrrd",
            code="unsupported",
        )
    page = pages.first
    size, samples = (int(page.imagewidth), int(page.imagelength)), int(page.samplesperpixel)
    if min(size) < 1 or int(page.imagedepth) != 1 or samples < 1 or page.dtype is None:
        raise unreadable(path)
    held, row = path.stat().st_size, (size[0] * samples * int(page.bitspersample) + 7) // 8
    if row * size[1] > _SMALL:
        require_possible(path, row * size[1], held, _RATIO)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not segments or any(start + length > held for start, length in segments):
        raise unreadable(path)
    if not page.is_tiled and page.planarconfig == 1:
        _require_strips(path, file, page, segments, row)
    if "Orientation" in page.tags:
        require_upright(path, {ORIENTATION: int(page.tags["Orientation"].value)})
    return page, size


def _require_strips(path: Path, file: IO[bytes], page: Any, segments: list[tuple[int, int]], row: int) -> None:
    """Check that strips hold all rows and no more, where their compression allows it."""
    height = int(page.imagelength)
    rows = min(int(page.rowsperstrip), height)
    if rows < 1:
        raise unreadable(path)
    if len(segments) != -(-height // rows):
        raise contradicts(path, f"it has {len(segments)} strips of {rows} rows for {height} rows")
    for number, (start, length) in enumerate(segments):
        claimed = row * min(rows, height - number * rows)
        if page.compression == 1:
            require_length(path, claimed, length)
            continue
        file.seek(start)
        if page.compression in _DEFLATE:
            require_deflated(path, file, length, claimed)
        elif page.compression == _PACKBITS:
            require_length(path, claimed, _unpacked_length(file.read(length)))


def _unpacked_length(packed: bytes) -> int:
    """Bytes that PackBits decodes."""
    length = at = 0
    while at < len(packed):
        code = packed[at]
        if code < 128:  # code + 1 bytes follow
            length += min(code + 1, len(packed) - at - 1)
            at += code + 2
        else:  # a byte that is repeated; 128 means nothing
            length += 257 - code if code > 128 else 0
            at += 2 if code > 128 else 1
    return length


def read(path: Path, *, as_label: bool) -> tuple[NDArray[Any], Grid]:
    """Read ``[channels, x, y]`` in the type of the file, and the grid.

    An alpha channel that is constant is left out.

    Args:
        path: the file.
        as_label: give the indices of a palette, not its colours.

    Raises:
        InputError: as ``read_grid``; the file is damaged, has transparency with content, or
            colours that are not red, green and blue.
    """
    with opened(path) as file:
        page, size = _page(path, file)
        shade, samples = int(page.photometric), int(page.samplesperpixel)
        if shade not in _COLOURS:
            name = {5: "CMYK"}.get(shade, page.photometric.name)
            raise InputError(path, f"holds {name} colours", "convert them to grey or to RGB", code="unsupported")
        plain = not page.is_tiled and page.planarconfig == 1 and page.bitspersample in (8, 16, 32)
        known = (1, 3) if shade in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) else (3, 4)
        if plain and samples in known and shade != _PALETTE and page.dtype.itemsize < 8:
            array = array_of(SimpleITK.ReadImage(str(path), imageIO="TIFFImageIO"))
        elif samples == 1 and (page.bitspersample == 1 or shade == _PALETTE):
            array, palette = _with_pillow(file)
            if shade != _PALETTE:
                array = array.T[None]
            else:
                array = indices_of(path, array, palette) if as_label else _coloured(array, palette)
        else:
            array = _with_tifffile(path, file, page, samples, size)
        if array.shape[1:] != size:
            raise unreadable(path)
    return without_alpha(path, array) if _has_alpha(page) else array, picture_grid(size)


def _with_tifffile(path: Path, file: IO[bytes], page: Any, samples: int, size: tuple[int, int]) -> NDArray[Any]:
    try:
        array = np.asarray(page.asarray())
    except Exception as error:  # what tifffile cannot unpack, it says in many ways
        if samples == 1 and page.photometric == _BLACK_IS_ZERO:
            return _with_pillow(file)[0].T[None]
        raise InputError(
            path, "is damaged, or compressed in a way that is not read", "save it uncompressed", code="damaged"
        ) from error
    if page.planarconfig == 1:
        return np.transpose(array.reshape(size[1], size[0], samples))
    return np.transpose(array.reshape(samples, size[1], size[0]), (0, 2, 1))


def _with_pillow(file: IO[bytes]) -> tuple[NDArray[Any], list[int]]:
    """Pixels ``[y, x]``, of one bit 0 for black and 1 for white, and the palette."""
    file.seek(0)
    picture = TiffImagePlugin.TiffImageFile(file)
    array = np.asarray(picture)
    return array.astype(np.uint8) if array.dtype == np.bool_ else array, list(picture.getpalette() or [])


def _has_alpha(page: Any) -> bool:
    return bool(page.extrasamples) and int(page.extrasamples[-1]) in _ALPHA


def _coloured(indices: NDArray[Any], palette: list[int]) -> NDArray[np.uint8]:
    colours = np.array(palette, dtype=np.uint8).reshape(-1, 3)
    return np.transpose(colours[indices])
