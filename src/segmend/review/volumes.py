"""Voxels on demand: uncompressed scans are mapped, all others read once and kept while there is room for them."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.data import nifti
from segmend.data.container import explained, require_room
from segmend.data.image import NIFTI, Grid, read_grid, read_image, read_label

CACHE_BYTES = 2**30
"""Memory for what was read; the last volume is kept even if it is larger."""


class Volume(Protocol):
    """One channel of a scan."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""

    def part(self, where: tuple[Any, ...]) -> NDArray[Any]:
        """Intensities of a part, given as for an array ``[*spatial]``."""


class InMemory:
    """A channel that was read.

    Args:
        array: ``[*spatial]``.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self._array.shape

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._array.nbytes

    def part(self, where: tuple[Any, ...]) -> NDArray[Any]:
        """Intensities of a part."""
        part: NDArray[Any] = self._array[where]
        return part


class Mapped:
    """A channel in an uncompressed NIfTI file: the system reads what is looked at.

    Args:
        header: of the file.
    """

    def __init__(self, header: nifti.NiftiHeader) -> None:
        self._array = np.memmap(header.path, header.dtype, "r", header.offset, header.grid.shape, order="F")
        slope, inter = header.raw.get_slope_inter()
        self._slope = np.float64(1 if slope is None else slope)
        self._inter = np.float64(inter or 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        shape: tuple[int, ...] = self._array.shape
        return shape

    @property
    def nbytes(self) -> int:
        """Memory that it takes: next to none, but it keeps a file open."""
        return 2**16

    def part(self, where: tuple[Any, ...]) -> NDArray[Any]:
        """Intensities of a part."""
        stored = np.array(self._array[where])
        native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        scaled: NDArray[Any] = apply_read_scaling(native, self._slope, self._inter)
        return scaled


def open_volume(path: Path, channel: int = 0) -> Volume:
    """A channel of an image file; intensities keep the type of the file where that is possible.

    Args:
        path: the file, in any format that is read.
        channel: of those in the file.

    Raises:
        InputError: the file is missing or damaged, or has no such channel.
    """
    if path.name.lower().endswith(NIFTI) and channel == 0:
        with explained(path):
            header = nifti.read_header(path)
            with nifti.opened_stream(path) as (_, compressed):
                mapped = not compressed
            if header.dtype.kind in "biuf":
                return Mapped(header) if mapped else InMemory(_read(header))
    image, _ = read_image(path)
    if channel >= len(image):
        problem = f"has {len(image)} channels, so no channel {channel}"
        raise InputError(path, problem, "correct the channel_names of dataset.json", code="mismatch")
    return InMemory(image[channel])


def _read(header: nifti.NiftiHeader) -> NDArray[Any]:
    """All voxels of a compressed file, in its own type or, if they have a scale, in float32."""
    shape, found = header.grid.shape, np.empty(0)
    require_room(header.path, math.prod(shape) * header.dtype.itemsize)
    for number, (where, piece) in enumerate(nifti.pieces(header)):
        kind = piece.dtype if piece.dtype.kind != "f" else np.dtype(np.float32)
        if not number:
            found = np.empty(shape, kind, order="F")
        with np.errstate(over="ignore"):
            found[..., where] = piece
    return found


def read_mask(path: Path, grid: Grid) -> NDArray[np.integer[Any]]:
    """Values of a label file as they are in the file, ``[*spatial]``.

    Whole numbers in NIfTI files keep their order in memory, which takes a tenth of the time of turning it.

    Args:
        path: the file.
        grid: that it must lie on.

    Raises:
        InputError: the file is missing or damaged, lies elsewhere, or holds no whole numbers.
    """
    if not read_grid(path).matches(grid):
        raise InputError(path, "does not lie over its scan", "resample it to the scan's grid", code="mismatch")
    if path.name.lower().endswith(NIFTI):
        with explained(path):
            header = nifti.read_header(path)
            if header.dtype.kind in "iu" and header.raw.get_slope_inter() in ((None, None), (1, 0)):
                return _read(header)
    return read_label(path)[0]


class VolumeCache:
    """What was read, up to a number of bytes; what was used least recently goes first. For any number of threads.

    Two requests for the same thing read it once.

    Args:
        most: bytes to keep.
    """

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._underway: dict[Hashable, Future[Any]] = {}

    @property
    def nbytes(self) -> int:
        """What is kept."""
        with self._lock:
            return sum(size for _, size in self._kept.values())

    def get(self, key: Hashable, read: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What belongs to a key, read if it is not kept.

        Args:
            key: says what it is.
            read: reads it; its error is raised in all threads that wait for it, and it is not kept.
            size: how many bytes it takes.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            future = self._underway.get(key)
            mine = future is None
            if future is None:
                future = self._underway[key] = Future()
        if not mine:
            return future.result()
        try:
            found = read()
        except BaseException as error:
            with self._lock:
                del self._underway[key]
            future.set_exception(error)
            raise
        with self._lock:
            self._kept[key] = (found, size(found))
            self._shrink()
            del self._underway[key]
        future.set_result(found)
        return found

    def _shrink(self) -> None:
        total = sum(size for _, size in self._kept.values())
        while total > self.most and len(self._kept) > 1:
            _, (_, size) = self._kept.popitem(last=False)
            total -= size


def file_key(path: Path) -> tuple[str, int, int]:
    """What a file is kept by: a file that was written again is another one.

    Raises:
        InputError: it is not there.
    """
    try:
        state = path.stat()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        remedy = "put it back, or audit the folder again; all other cases can be reviewed"
        raise InputError(path, problem, remedy, code="missing-file") from error
    return str(path), state.st_mtime_ns, state.st_size
