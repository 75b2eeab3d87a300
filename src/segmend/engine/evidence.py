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
from typing import Any

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

_LONGEST_HEADER = 1024
SMALLEST = np.float32(1 / (1 + np.exp(LIMIT)))
"""Smallest probability that a map holds."""
_DECODED = (1 / (1 + np.exp(-np.linspace(-LIMIT, LIMIT, CODES)))).astype(np.float32)


def write_evidence(path: Path, probabilities: Iterable[NDArray[np.floating[Any]]]) -> None:
    """Writes a compressed ``.npz`` with an array for each class, ``[*spatial]`` uint8 log-odds in 256 steps.

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
            with file.open(f"{index}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, encode(of_class), allow_pickle=False)


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
            names = [f"{index}.npy" for index in range(classes)]
            parts = {part.filename: part for part in file.infolist()}
            if sorted(parts) != sorted(names) or len(file.infolist()) != classes:
                return False
            most = math.prod(shape) + _LONGEST_HEADER
            fitting = all(parts[name].file_size <= most and _is_map(file, name, shape) for name in names)
            return fitting and file.testzip() is None
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


def _is_map(file: zipfile.ZipFile, name: str, shape: Sequence[int]) -> bool:
    with file.open(name) as entry:
        if np.lib.format.read_magic(entry) != (1, 0):
            return False
        of_map, _, dtype = np.lib.format.read_array_header_1_0(entry)
    return tuple(of_map) == tuple(shape) and dtype == np.uint8


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
            return len(file.files)

    def codes(self, index: int) -> NDArray[np.uint8]:
        """The map ``[*spatial]`` of a class as it is stored; 0 is the smallest probability.

        Raises:
            InputError: the file is damaged.
        """
        try:
            with self._open() as file:
                codes: NDArray[np.uint8] = file[str(index)]
                if codes.dtype != np.uint8:
                    raise ValueError("no log-odds")
                return codes
        except Exception as error:  # zipfile and numpy refuse what is damaged by errors of many kinds
            raise self._damaged() from error

    def probability(self, index: int) -> NDArray[np.float32]:
        """The map ``[*spatial]`` of a class.

        Raises:
            InputError: the file is damaged.
        """
        return decode(self.codes(index))

    def within(self, index: int, *boxes: tuple[slice, ...]) -> list[NDArray[np.float32]]:
        """The map of a class within some boxes, in the time of reading it.

        Raises:
            InputError: the file is damaged.
        """
        codes = self.codes(index)
        return [decode(codes[box]) for box in boxes]

    def at(self, index: int, voxels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probability ``[n]`` of a class at some voxels, by their flat indices.

        Raises:
            InputError: the file is damaged.
        """
        return decode(self.codes(index).reshape(-1)[voxels])

    def concentrated(self, index: int) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
        """A box, and the map of a class within; outside of the box, it is the smallest of all probabilities.

        Most classes fill a small part of a scan, and only that needs arithmetic.

        Raises:
            InputError: the file is damaged.
        """
        codes = self.codes(index)
        box = box_above(codes, 0) or (slice(0, 0),) * codes.ndim
        return box, decode(codes[box])

    def label(self) -> NDArray[np.uint8]:
        """The most probable class ``[*spatial]``; of equally probable ones the first.

        Raises:
            InputError: the file is damaged.
        """
        highest = self.probability(0)
        label = np.zeros(highest.shape, np.uint8)
        for index in range(1, self.classes):
            probability = self.probability(index)
            label[probability > highest] = index
            np.maximum(highest, probability, out=highest)
        return label

    def _open(self) -> Any:
        try:
            return np.load(self.path, allow_pickle=False)
        except Exception as error:  # as above
            raise self._damaged() from error

    def _damaged(self) -> InputError:
        return InputError(self.path, "is damaged", "delete it and run the command that wrote it again", code="damaged")
