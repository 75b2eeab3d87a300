"""Arrays of voxels in compressed files; a part is read without the rest.

A file is a contiguous frame of Blosc2: blocks of some ten thousand voxels, each compressed by itself, so a crop takes
the blocks that it touches. Compression loses no bit. Few scans have more than 65536 different intensities:
as 16-bit positions in the sorted list of those, they take far less than as floats.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import blosc2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.core.errors import InputError

_T = TypeVar("_T")

_MOST_LEVELS = 2**16
_LEVELS = "levels"
_BLOCK = {1: (4096,), 2: (128, 128), 3: (32, 32, 16)}
_BLOCKS_IN_CHUNK = 4
_CODES_AT_ONCE = 2**22
_OPEN_FILES = 256


class VoxelArray(Protocol):
    """What an array in memory and one in a file have in common.

    ``numpy.asarray`` reads all of it; slices read a part.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    def __getitem__(self, index: tuple[slice, ...], /) -> NDArray[Any]: ...

    def __array__(self, dtype: Any = ..., /, *, copy: bool | None = ...) -> NDArray[Any]: ...


class CompressedArray:
    """An array in a file of ``write_compressed``, which is only read. It may be sent to other processes.

    Args:
        file: the file.

    Raises:
        InputError: the file is damaged.
        FileNotFoundError: there is none.

    Attributes:
        file: the file.
        shape: sides.
        dtype: of the values.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._state = _state(file)
        opened, levels = self._opened()
        self.shape: tuple[int, ...] = tuple(opened.shape)
        self.dtype: np.dtype[Any] = np.dtype(opened.dtype if levels is None else levels.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: tuple[slice, ...], /) -> NDArray[Any]:
        """Read a part.

        Raises:
            InputError: the file is damaged.
        """
        opened, levels = self._opened()
        part: NDArray[Any] = _explained(self.file, lambda: np.asarray(opened[index]))
        return part if levels is None else np.take(levels, part)

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it.

        Raises:
            InputError: the file is damaged.
            ValueError: a view is asked for.
        """
        if copy is False:
            raise ValueError("a compressed array can only be copied")
        whole = self[(slice(None),) * self.ndim]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __reduce__(self) -> tuple[type[CompressedArray], tuple[Path]]:
        return CompressedArray, (self.file,)

    def _opened(self) -> tuple[Any, NDArray[Any] | None]:
        return _open(self.file, self._state)


def write_compressed(file: Path, array: NDArray[Any]) -> None:
    """Write an array; ``CompressedArray`` gives every bit of it back.

    Args:
        file: to write; it is flushed by the caller.
        array: ``[*spatial]``, or ``[channels, *spatial]`` of 3 or 4 axes if it is of floats.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    array = np.ascontiguousarray(array)
    levels = _levels_of(array) if array.dtype == np.float32 else None
    stored = array if levels is None else _codes(array, levels)
    spatial = array.ndim - (array.dtype.kind == "f" and array.ndim > 1)
    block = tuple(min(each, side) for each, side in zip(_BLOCK[spatial], array.shape[-spatial:], strict=True))
    chunk = tuple(_BLOCKS_IN_CHUNK * each for each in block)
    channel = (1,) * (array.ndim - spatial)
    compressed = blosc2.asarray(
        stored,
        chunks=(*channel, *chunk),
        blocks=(*channel, *block),
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1},
    )
    if levels is not None:
        compressed.schunk.vlmeta[_LEVELS] = levels.tobytes()
    # By way of memory: Blosc2 itself does not say that a disk is full.
    file.write_bytes(compressed.to_cframe())


def _levels_of(array: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The different values of an array, compared by their bits; None if there are too many."""
    bits = array.view(np.uint32).ravel()
    found: NDArray[np.uint32] = np.empty(0, np.uint32)
    for first in range(0, bits.size, _CODES_AT_ONCE):
        found = np.union1d(found, pd.unique(bits[first : first + _CODES_AT_ONCE]))
        if found.size > _MOST_LEVELS:
            return None
    values = found.view(np.float32)
    return values[np.argsort(values, kind="stable")]


def _codes(array: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.uint16]:
    known, bits = pd.Index(levels.view(np.uint32)), array.view(np.uint32).ravel()
    codes = np.empty(bits.size, np.uint16)
    for first in range(0, bits.size, _CODES_AT_ONCE):
        part = slice(first, first + _CODES_AT_ONCE)
        codes[part] = known.get_indexer(pd.Index(bits[part]))
    return codes.reshape(array.shape)


def _state(file: Path) -> tuple[int, int, int]:
    """What distinguishes a file from another one that was later put into its place."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=_OPEN_FILES)
def _open(file: Path, state: tuple[int, int, int]) -> tuple[Any, NDArray[Any] | None]:
    """The Blosc2 array of a file and its levels. More files than are kept open would be too many for some systems."""

    def read() -> tuple[Any, NDArray[Any] | None]:
        # One thread: threads do not outlive the fork of a process that loads data.
        opened = blosc2.open(str(file), mode="r", mmap_mode="r", dparams={"nthreads": 1})
        held = opened.schunk.vlmeta
        return opened, np.frombuffer(held[_LEVELS], np.float32) if _LEVELS in held else None

    return _explained(file, read)


def _explained(file: Path, read: Callable[[], _T]) -> _T:
    """What a function gives, with the errors of Blosc2 explained."""
    try:
        return read()
    except FileNotFoundError:
        raise
    except (RuntimeError, ValueError, OSError, KeyError, IndexError) as error:
        remedy = "delete the file, and run the same command again, which makes it again"
        raise InputError(file, f"is damaged ({error})", remedy, code="damaged") from error
