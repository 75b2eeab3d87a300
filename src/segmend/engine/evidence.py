"""Stored probabilities of a case: one small file, written and read class by class.

Cross-validation keeps out-of-fold probabilities in it, and the audit the evidence that it judges labels by.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.io import atomic_file
from segmend.core.masks import box_above
from segmend.data.image import read_grid

LIMIT = 8.0
"""Largest log-odds that are kept: probabilities lie in 0.0003..0.9997."""

CODES = 256
"""Number of values that a stored probability may have."""

_BOX = ".box"
"""End of the names of the arrays that say where a map lies."""
_CROPPED = 0.8
"""Part of the scan up to which a map is stored as a box."""
_LONGEST_HEADER = 1024
SMALLEST = np.float32(1 / (1 + np.exp(LIMIT)))
"""Smallest probability that a map holds."""
_DECODED = (1 / (1 + np.exp(-np.linspace(-LIMIT, LIMIT, CODES)))).astype(np.float32)


def write_evidence(path: Path, probabilities: Iterable[NDArray[np.floating[Any]]]) -> None:
    """Writes a compressed ``.npz`` with an array for each class, uint8 log-odds in 256 steps.

    An array ``K.npy`` is the map ``[*spatial]`` of class K. Where that is the smallest probability in most of the scan,
    it is the box around the rest, and ``K.box.npy`` holds first and last (exclusive) index of the box and the shape of
    the scan, ``[3, axes]``.

    Args:
        path: the file; it is written atomically.
        probabilities: the map ``[*spatial]`` of each class in turn; only one is held at a time.

    Raises:
        InputError: the disk is full or cannot be written to.
    """
    write_classes(path, enumerate(probabilities))


def write_classes(path: Path, probabilities: Iterable[tuple[int, NDArray[np.floating[Any]]]]) -> None:
    """Writes evidence as ``write_evidence`` does, of classes in any order.

    Args:
        path: the file; it is written atomically.
        probabilities: index and map ``[*spatial]`` of each class; only one is held at a time.

    Raises:
        InputError: the disk is full or cannot be written to.
    """
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file:
        for index, of_class in probabilities:
            box = box_above(of_class, float(SMALLEST)) or (slice(0, 0),) * of_class.ndim
            inside = of_class[box]
            if inside.size <= _CROPPED * of_class.size:
                place = [[side.start for side in box], [side.stop for side in box], of_class.shape]
                _write_array(file, f"{index}{_BOX}", np.array(place, np.int64))
            else:
                inside = of_class
            _write_array(file, str(index), encode(inside))


def is_evidence(path: Path, shape: Sequence[int], classes: int) -> bool:
    """Whether a file is evidence of a scan: of its shape and classes, every byte as it was written.

    Args:
        path: the file, of any origin; nothing is read that is larger than it should be.
        shape: sides of the scan.
        classes: number of classes, background included.
    """
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as file:
            parts = {part.filename: part for part in file.infolist()}
            known = {f"{index}{kind}.npy" for index in range(classes) for kind in ("", _BOX)}
            if not known.issuperset(parts) or len(parts) != len(file.infolist()):
                return False
            most = math.prod(shape) + _LONGEST_HEADER
            fitting = all(part.file_size <= most for part in parts.values())
            return fitting and all(_is_map(file, index, shape) for index in range(classes)) and file.testzip() is None
    except Exception:  # zipfile and numpy refuse what is damaged by errors of many kinds
        return False


def without_evidence(cases: Iterable[Case], classes: int, place: Callable[[str], Path]) -> list[Case]:
    """Return the cases without a usable file; a damaged one is none.

    Args:
        cases: with their images.
        classes: number of classes, background included.
        place: gives the file of a case by its name.
    """
    return [case for case in cases if not is_evidence(place(case.name), read_grid(case.images[0]).shape, classes)]


def _is_map(file: zipfile.ZipFile, index: int, shape: Sequence[int]) -> bool:
    of_map, dtype = _header(file, f"{index}.npy")
    if dtype != np.uint8:
        return False
    if f"{index}{_BOX}.npy" not in file.namelist():
        return of_map == tuple(shape)
    of_box, kind = _header(file, f"{index}{_BOX}.npy")
    if kind != np.int64 or of_box != (3, len(shape)):
        return False
    with file.open(f"{index}{_BOX}.npy") as entry:
        return _placed(np.lib.format.read_array(entry, allow_pickle=False), of_map)[0] == tuple(shape)


def _header(file: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array."""
    with file.open(name) as entry:
        if np.lib.format.read_magic(entry) != (1, 0):
            raise ValueError("another version")
        of_map, _, dtype = np.lib.format.read_array_header_1_0(entry)
    return tuple(of_map), dtype


def _placed(place: NDArray[Any], extent: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """Shape of a scan, and the box in it that a map of some extent fills.

    Raises:
        ValueError: it does not fit.
    """
    starts, stops, shape = (tuple(int(number) for number in row) for row in place)
    box = tuple(map(slice, starts, stops))
    inside = all(0 <= start <= stop <= side for start, stop, side in zip(starts, stops, shape, strict=True))
    if not inside or extent != tuple(stop - start for start, stop in zip(starts, stops, strict=True)):
        raise ValueError("a box that does not fit")
    return shape, box


def _write_array(file: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def encode(probability: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Probabilities as they are stored, each off by at most 0.8 %.

    Args:
        probability: ``[*spatial]`` 0..1.
    """
    codes = np.zeros(probability.shape, np.uint8)
    box = box_above(probability, float(SMALLEST))
    if box is not None:
        inside = probability[box]
        inside = inside.astype(np.float32) if inside.dtype == np.float16 else inside
        with np.errstate(divide="ignore"):
            log_odds = np.log(inside) - np.log1p(-inside)
        steps = (log_odds.clip(-LIMIT, LIMIT) + LIMIT) * ((CODES - 1) / (2 * LIMIT))
        codes[box] = np.rint(steps)
    return codes


def decode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The reverse of ``encode``."""
    probability: NDArray[np.float32] = _DECODED[codes]
    return probability


@dataclass(frozen=True, slots=True, eq=False)
class StoredMap:
    """The map of a class as it is stored; it has the smallest probability outside of a box.

    Attributes:
        shape: of the scan.
        box: where the codes lie in it.
        codes: uint8 log-odds in the box.
    """

    shape: tuple[int, ...]
    box: tuple[slice, ...]
    codes: NDArray[np.uint8]

    @classmethod
    def of(cls, codes: NDArray[np.uint8]) -> Self:
        """A map ``[*spatial]`` of the whole scan."""
        box = box_above(codes, 0) or (slice(0, 0),) * codes.ndim
        return cls(codes.shape, box, codes[box])

    def whole(self) -> NDArray[np.uint8]:
        """Codes ``[*spatial]`` of the scan."""
        codes = np.zeros(self.shape, np.uint8)
        codes[self.box] = self.codes
        return codes

    def within(self, box: tuple[slice, ...]) -> NDArray[np.uint8]:
        """Codes in a box of the scan; a side without ends is the whole axis."""
        box = tuple(slice(*side.indices(length)[:2]) for side, length in zip(box, self.shape, strict=True))
        codes = np.zeros([side.stop - side.start for side in box], np.uint8)
        common = [
            (max(own.start, side.start), min(own.stop, side.stop)) for own, side in zip(self.box, box, strict=True)
        ]
        if all(start < stop for start, stop in common):
            to = tuple(slice(a - side.start, b - side.start) for (a, b), side in zip(common, box, strict=True))
            source = tuple(slice(a - own.start, b - own.start) for (a, b), own in zip(common, self.box, strict=True))
            codes[to] = self.codes[source]
        return codes


@dataclass(frozen=True)
class Evidence:
    """The probabilities of a case as stored; over the classes they sum to 1 within rounding.

    Attributes:
        path: the file.
    """

    path: Path

    @cached_property
    def classes(self) -> int:
        """Number of classes, background included."""
        with self._open() as file:
            return sum(not name.endswith(_BOX) for name in file.files)

    def stored(self, index: int) -> StoredMap:
        """The map of a class as it is stored.

        Raises:
            InputError: the file is damaged.
        """
        try:
            with self._open() as file:
                codes = file[str(index)]
                if codes.dtype != np.uint8:
                    raise ValueError("no log-odds")
                if f"{index}{_BOX}" not in file.files:
                    return StoredMap.of(codes)
                shape, box = _placed(file[f"{index}{_BOX}"], codes.shape)
                return StoredMap(shape, box, codes)
        except Exception as error:  # zipfile and numpy refuse what is damaged by errors of many kinds
            raise self._damaged() from error

    def probability(self, index: int) -> NDArray[np.float32]:
        """The map ``[*spatial]`` of a class.

        Raises:
            InputError: the file is damaged.
        """
        return decode(self.stored(index).whole())

    def within(self, index: int, *boxes: tuple[slice, ...]) -> list[NDArray[np.float32]]:
        """The map of a class within some boxes, in the time of reading it.

        Raises:
            InputError: the file is damaged.
        """
        stored = self.stored(index)
        return [decode(stored.within(box)) for box in boxes]

    def at(self, index: int, voxels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probability ``[n]`` of a class at some voxels, by their flat indices.

        Raises:
            InputError: the file is damaged.
        """
        return decode(self.stored(index).whole().reshape(-1)[voxels])

    def concentrated(self, index: int) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
        """A box, and the map of a class within; outside of the box, it is the smallest of all probabilities.

        Most classes fill a small part of a scan, and only that needs arithmetic.

        Raises:
            InputError: the file is damaged.
        """
        stored = self.stored(index)
        return stored.box, decode(stored.codes)

    def label(self) -> NDArray[np.uint8]:
        """The most probable class ``[*spatial]``; of equally probable ones the first.

        Raises:
            InputError: the file is damaged.
        """
        highest = self.probability(0)
        label = np.zeros(highest.shape, np.uint8)
        for index in range(1, self.classes):
            box, probability = self.concentrated(index)
            label[box][probability > highest[box]] = index
            np.maximum(highest[box], probability, out=highest[box])
        return label

    def _open(self) -> Any:
        try:
            return np.load(self.path, allow_pickle=False)
        except Exception as error:  # as above
            raise self._damaged() from error

    def _damaged(self) -> InputError:
        return InputError(self.path, "is damaged", "delete it and run the command that wrote it again", code="damaged")
