"""PNG pictures, which SimpleITK reads once their header has been verified."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from PIL import PngImagePlugin

from segmend.core.errors import InputError
from segmend.core.grid import Grid
from segmend.data.container import (
    FIRST_BYTES,
    PNG,
    contradicts,
    explained,
    opened,
    require_deflated,
    require_kind,
    require_possible,
    unreadable,
)
from segmend.data.itk import array_of
from segmend.data.pictures import indices_of, picture_grid, require_upright, without_alpha

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and step of both, of the passes of an interlaced PNG."""


def read_grid(path: Path) -> Grid:
    """Read the header.

    Raises:
        InputError: the file is missing, is of another format, is an animation or says how to turn it.
    """
    return picture_grid(_header(path, thorough=False).size)


@dataclass(frozen=True)
class _Png:
    size: tuple[int, int]
    depth: int
    colour: int
    transparent: bool


def read(path: Path, *, as_label: bool) -> tuple[NDArray[Any], Grid]:
    """Read ``[channels, x, y]`` in the type of the file, and the grid.

    An alpha channel that is constant is left out.

    Args:
        path: the file.
        as_label: give the indices of a palette, not its colours.

    Raises:
        InputError: as ``read_grid``; the file is damaged, or has transparency with content.
    """
    header = _header(path, thorough=True)
    if header.transparent and header.colour in (_GREY, _RGB):
        raise InputError(
            path, "marks one of its colours as transparent", "save it without transparency", code="unsupported"
        )
    with explained(path):
        if header.colour == _PALETTE and as_label:
            return indices_of(path, *_with_pillow(path)), picture_grid(header.size)
        if header.colour == _GREY_ALPHA:
            if header.depth > 8:
                raise InputError(
                    path,
                    "is grey of 16 bits with an alpha channel",
                    "save it without the alpha channel",
                    code="unsupported",
                )
            array = np.transpose(_with_pillow(path)[0])
        else:
            array = array_of(SimpleITK.ReadImage(str(path), imageIO="PNGImageIO"))
    has_alpha = header.colour in (_GREY_ALPHA, _RGBA) or header.transparent
    return without_alpha(path, array) if has_alpha else array, picture_grid(header.size)


def _with_pillow(path: Path) -> tuple[NDArray[Any], list[int]]:
    # Not Image.open, which rejects pictures by their size alone; their content was verified before.
    with path.open("rb") as file:
        picture = PngImagePlugin.PngImageFile(file)
        return np.asarray(picture), list(picture.getpalette() or [])


def _header(path: Path, *, thorough: bool) -> _Png:
    """Read the chunks of a PNG file and check that it holds the pixels that it claims."""
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
            raise InputError(path, "is an animation", "save one picture a file", code="unsupported")
        if b"eXIf" in names:
            require_upright(path, PngImagePlugin.PngImageFile(io.BytesIO(path.read_bytes())).getexif())
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
