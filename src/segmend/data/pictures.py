"""PNG and TIFF pictures, which say nothing of millimetres: a pixel counts as 1 mm."""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK
import tifffile
from numpy.typing import NDArray
from PIL import PngImagePlugin

from segmend.data.container import (
    FIRST_BYTES,
    PNG,
    TIFF,
    contradicts,
    explained,
    opened,
    require_deflated,
    require_kind,
    require_length,
    require_possible,
    unreadable,
)
from segmend.data.grid import Grid
from segmend.data.itk import LPS_TO_RAS, array_of
from segmend.errors import InputError

_ORIENTATION = 274
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and step of both, of the passes of an interlaced PNG."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _TIFF_RGB, _TIFF_PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ALPHA = (1, 2)
_TIFF_RATIO = 4096
"""Most bytes that any compression of a TIFF picture makes of one; white pages of fax, which are small, aside."""
_SMALL = 2**26

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # damaged files end in exceptions


def read_grid(path: Path) -> Grid:
    """Reads the header.

    Raises:
        InputError: the file is missing, is of another format, holds several pictures or says how to turn it.
    """
    if _is_png(path):
        return _grid(_png_header(path, thorough=False).size)
    with opened(path) as file:
        return _grid(_tiff_page(path, file)[1])


def read(path: Path, *, as_label: bool) -> tuple[NDArray[Any], Grid]:
    """Reads ``[channels, x, y]`` in the type of the file, and the grid.

    An alpha channel that is constant is left out.

    Args:
        path: the file.
        as_label: give the indices of a palette, not its colours.

    Raises:
        InputError: as ``read_grid``; the file is damaged, has an alpha channel with content, or colours that are not
            red, green and blue.
    """
    if _is_png(path):
        return _read_png(path, as_label)
    return _read_tiff(path, as_label)


@dataclass(frozen=True)
class _Png:
    size: tuple[int, int]
    depth: int
    colour: int
    transparent: bool


def _is_png(path: Path) -> bool:
    return path.name.lower().endswith(".png")


def _grid(size: tuple[int, int]) -> Grid:
    return Grid(size, LPS_TO_RAS @ np.eye(4))


def _read_png(path: Path, as_label: bool) -> tuple[NDArray[Any], Grid]:
    header = _png_header(path, thorough=True)
    if header.transparent and header.colour in (_GREY, _RGB):
        raise InputError(path, "marks one of its colours as transparent", "save it without transparency")
    with explained(path):
        if header.colour == _PALETTE and as_label:
            return _indices(path, *_with_pillow(path)), _grid(header.size)
        if header.colour == _GREY_ALPHA:
            if header.depth > 8:
                raise InputError(path, "is grey of 16 bits with an alpha channel", "save it without the alpha channel")
            array = np.transpose(_with_pillow(path)[0])
        else:
            array = array_of(SimpleITK.ReadImage(str(path), imageIO="PNGImageIO"))
    has_alpha = header.colour in (_GREY_ALPHA, _RGBA) or header.transparent
    return _without_alpha(path, array) if has_alpha else array, _grid(header.size)


def _with_pillow(path: Path) -> tuple[NDArray[Any], list[int]]:
    # Not Image.open, which judges pictures by their size alone; that they hold so much was made sure before.
    with path.open("rb") as file:
        picture = PngImagePlugin.PngImageFile(file)
        return np.asarray(picture), list(picture.getpalette() or [])


def _indices(path: Path, indices: NDArray[Any], palette: list[int]) -> NDArray[Any]:
    """The indices of a picture ``[y, x]``, unless the greys of its palette might be meant instead."""
    colours = np.array(palette).reshape(-1, 3)
    if indices.max() >= len(colours):
        raise unreadable(path, "it has pixels of colours that its palette lacks")
    used = np.unique(indices)
    if (colours[used] == colours[used, :1]).all() and not (colours[used, 0] == used).all():
        raise InputError(
            path,
            "has a palette of greys that are not its indices, so either may be the labels",
            "save it as a grey picture without a palette",
        )
    return np.transpose(indices)[None]


def _without_alpha(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    alpha = array[-1]
    if alpha.min() != alpha.max():
        raise InputError(path, "has an alpha channel that is not the same everywhere", "save it without transparency")
    return array[:-1]


def _png_header(path: Path, *, thorough: bool) -> _Png:
    """Follows the chunks of a PNG file and makes sure that it holds the pixels that it claims."""
    with opened(path) as file:
        require_kind(path, file.read(FIRST_BYTES), PNG, named=".png")
        chunks = _chunks(path, file)
        if not chunks or chunks[0][0] != b"IHDR" or chunks[0][2] != 13 or chunks[-1][0] != b"IEND":
            raise unreadable(path)
        file.seek(chunks[0][1])
        width, height, depth, colour, _, _, interlaced = struct.unpack(">2I5B", file.read(13))
        if not (width and height and depth in (1, 2, 4, 8, 16) and colour in _SAMPLES):
            raise unreadable(path)
        names = {name for name, _, _ in chunks}
        if b"acTL" in names:
            raise InputError(path, "is an animation", "save one picture a file")
        if b"eXIf" in names:
            _require_upright(path, PngImagePlugin.PngImageFile(io.BytesIO(path.read_bytes())).getexif())
        bits = depth * _SAMPLES[colour]
        claimed = sum(
            rows * (1 + (columns * bits + 7) // 8) for columns, rows in _passes(width, height, interlaced) if columns
        )
        parts = [(start, length) for name, start, length in chunks if name == b"IDAT"]
        held = sum(length for _, length in parts)
        if thorough:
            require_deflated(path, _Joined(file, parts), held, claimed)
        else:
            require_possible(path, claimed, held)
        return _Png((width, height), depth, colour, b"tRNS" in names)


def _chunks(path: Path, file: IO[bytes]) -> list[tuple[bytes, int, int]]:
    """Name, start and length of every chunk up to IEND, which must be the end of the file."""
    chunks: list[tuple[bytes, int, int]] = []
    at, end = 8, path.stat().st_size
    while at < end and (not chunks or chunks[-1][0] != b"IEND"):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            raise unreadable(path)
        length, name = struct.unpack(">I4s", head)
        chunks.append((name, at + 8, length))
        at += length + 12
    if at < end:
        raise contradicts(path, "it goes on behind the end of its picture")
    if at > end:
        raise unreadable(path)
    return chunks


def _passes(width: int, height: int, interlaced: int) -> list[tuple[int, int]]:
    if not interlaced:
        return [(width, height)]
    return [
        (-(-(width - column) // right), -(-(height - row) // down))
        for column, row, right, down in _PASSES
        if column < width and row < height
    ]


class _Joined(io.BytesIO):
    """Parts of a file as one."""

    def __init__(self, file: IO[bytes], parts: list[tuple[int, int]]) -> None:
        super().__init__()
        self._file, self._parts = file, list(reversed(parts))

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        content = b""
        while self._parts and len(content) < size:
            start, length = self._parts.pop()
            self._file.seek(start)
            piece = self._file.read(min(length, size - len(content)))
            content += piece
            if piece and len(piece) < length:
                self._parts.append((start + len(piece), length - len(piece)))
        return content


def _require_upright(path: Path, tags: Any) -> None:
    turned = tags.get(_ORIENTATION, 1)
    if turned != 1:
        raise InputError(path, f"says that it is to be turned to be seen (orientation {turned})", "save it upright")


def _tiff_page(path: Path, file: IO[bytes]) -> tuple[Any, tuple[int, int]]:
    """The only page of a TIFF file, once it is known to hold what it claims, and its width and height."""
    require_kind(path, file.read(FIRST_BYTES), TIFF, named=path.suffix.lower())
    file.seek(0)
    pages = tifffile.TiffFile(file).pages
    if len(pages) > 1:
        raise InputError(path, "is a stack of pictures, which tells no spacing", "convert it to .nii.gz, .mha or .nrrd")
    page = pages.first
    size, samples = (int(page.imagewidth), int(page.imagelength)), int(page.samplesperpixel)
    if min(size) < 1 or int(page.imagedepth) != 1 or samples < 1 or page.dtype is None:
        raise unreadable(path)
    held, row = path.stat().st_size, (size[0] * samples * int(page.bitspersample) + 7) // 8
    if row * size[1] > _SMALL:
        require_possible(path, row * size[1], held, _TIFF_RATIO)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not segments or any(start + length > held for start, length in segments):
        raise unreadable(path)
    if not page.is_tiled and page.planarconfig == 1:
        _require_strips(path, file, page, segments, row)
    if "Orientation" in page.tags:
        _require_upright(path, {_ORIENTATION: int(page.tags["Orientation"].value)})
    return page, size


def _require_strips(path: Path, file: IO[bytes], page: Any, segments: list[tuple[int, int]], row: int) -> None:
    """Makes sure that strips hold all rows and no more, as far as their compression lets that be seen."""
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
        elif page.compression in (8, 32946):
            file.seek(start)
            require_deflated(path, file, length, claimed)


def _read_tiff(path: Path, as_label: bool) -> tuple[NDArray[Any], Grid]:
    with opened(path) as file:
        page, size = _tiff_page(path, file)
        shade, samples, alpha = int(page.photometric), int(page.samplesperpixel), _has_alpha(page)
        if shade not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _TIFF_RGB, _TIFF_PALETTE, _YCBCR):
            raise InputError(path, f"holds {page.photometric.name} colours", "convert them to grey or to RGB")
        plain = not page.is_tiled and page.planarconfig == 1 and page.bitspersample in (8, 16, 32)
        known = (1, 3) if shade in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) else (3, 4)
        if plain and samples in known and shade != _TIFF_PALETTE and page.dtype.itemsize < 8:
            array = array_of(SimpleITK.ReadImage(str(path), imageIO="TIFFImageIO"))
            if array.shape != (samples, *size):
                raise unreadable(path)
        else:
            array = _with_tifffile(path, page, samples, size)
            if shade == _TIFF_PALETTE:
                array = _indices(path, array[0].T, _palette(page)) if as_label else _coloured(array[0], _palette(page))
            elif page.bitspersample == 1 and shade == _WHITE_IS_ZERO:
                array = 1 - array
    return _without_alpha(path, array) if alpha else array, _grid(size)


def _with_tifffile(path: Path, page: Any, samples: int, size: tuple[int, int]) -> NDArray[Any]:
    try:
        array = np.asarray(page.asarray())
    except Exception as error:  # what tifffile cannot unpack, it says in many ways
        raise InputError(path, "is damaged, or compressed in a way that is not read", "save it uncompressed") from error
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    array = array.reshape(size[1], size[0], samples) if page.planarconfig == 1 else array.reshape(samples, *size[::-1])
    return np.transpose(array) if page.planarconfig == 1 else np.transpose(array, (0, 2, 1))


def _has_alpha(page: Any) -> bool:
    return bool(page.extrasamples) and int(page.extrasamples[-1]) in _ALPHA


def _palette(page: Any) -> list[int]:
    colours = np.asarray(page.colormap)
    if colours.max() > 255:  # 16 bits a colour, of which most programs fill the upper eight or repeat them below
        colours = colours >> 8
    return [int(value) for value in colours.T.ravel()]


def _coloured(indices: NDArray[Any], palette: list[int]) -> NDArray[np.uint8]:
    colours = np.array(palette, dtype=np.uint8).reshape(-1, 3)
    return np.moveaxis(colours[indices], -1, 0)
