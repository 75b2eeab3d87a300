"""NIfTI files of several channels, one volume behind the other along a fourth axis: checked, and split into files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from segmend.core.io import atomic_file
from segmend.data.container import contradicts, unreadable
from segmend.data.headers import has_its_length
from segmend.data.nifti import NiftiHeader, opened_stream, read_header, skip

_PIECE_BYTES = 2**24
_COMPRESSION = 1
"""As nibabel compresses: more takes many times as long for a few per cent."""


def read_volumes(path: Path) -> NiftiHeader:
    """The header of a file with one volume, or with several channels along its fourth axis.

    All voxels are read only if the last bytes of the file do not show that it is complete.

    Raises:
        InputError: the file is missing, damaged or truncated, or has more axes.
    """
    header = read_header(path, channels=True)
    if not has_its_length(path):
        with opened_stream(path) as (stream, _):
            skip(path, stream, header.offset + header.payload)
            _require_end(path, stream)
    return header


def split_channels(header: NiftiHeader, places: Sequence[Path]) -> None:
    """Write each channel of a file into a file of its own, its voxels byte by byte as they are stored.

    Type, scale, units and place of the voxels stay those of the file; a piece of a channel is in memory at a time.

    Args:
        header: of the file.
        places: a file for each channel, ``.nii`` or ``.nii.gz``.

    Raises:
        InputError: the file is damaged, or a file cannot be written.
        ValueError: there are more or fewer places than channels.
    """
    if len(places) != header.channels:
        raise ValueError(f"{len(places)} places for {header.channels} channels")
    start = _start_of_volume(header)
    with opened_stream(header.path) as (stream, _):
        skip(header.path, stream, header.offset)
        for place in places:
            with atomic_file(place) as temporary, _written(temporary) as target:
                target.write(start)
                _copy(header.path, stream, target, header.payload // header.channels)
        _require_end(header.path, stream)


def _start_of_volume(header: NiftiHeader) -> bytes:
    """The header of one volume, and the mark that no extension follows."""
    raw: Any = header.raw.copy()
    raw.set_data_shape(header.grid.shape)
    raw["vox_offset"] = len(raw.binaryblock) + 4
    return bytes(raw.binaryblock) + b"\0\0\0\0"


def _copy(path: Path, source: IO[bytes], target: IO[bytes], left: int) -> None:
    while left:
        content = source.read(min(left, _PIECE_BYTES))
        if not content:
            raise unreadable(path)
        target.write(content)
        left -= len(content)


def _require_end(path: Path, stream: IO[bytes]) -> None:
    if stream.read(1):  # which also compares the checksum
        raise contradicts(path, "it holds more voxels than its header describes")


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that is compressed if its name says so, without name and time: equal content gives equal files."""
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            yield file
            return
        with gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as stream:
            yield stream  # type: ignore[misc]
