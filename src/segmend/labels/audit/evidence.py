"""Probabilities of a case in one small file, written and read class by class."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.errors import InputError
from segmend.outputs import whole_file

LIMIT = 8.0
"""Largest log-odds that are kept: probabilities lie in 0.0003..0.9997."""

_CODES = 255
_DECODED = (1 / (1 + np.exp(-np.linspace(-LIMIT, LIMIT, _CODES + 1)))).astype(np.float32)


def write_evidence(path: Path, probabilities: Iterable[NDArray[np.floating[Any]]]) -> None:
    """Writes a compressed ``.npz`` with an array for each class, ``[*spatial]`` uint8 log-odds in 256 steps.

    Args:
        path: the file; it is there whole or not at all.
        probabilities: the map ``[*spatial]`` of each class in turn; only one is held at a time.

    Raises:
        InputError: the disk is full or cannot be written to.
    """
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file:
        for index, of_class in enumerate(probabilities):
            with file.open(f"{index}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, encoded(of_class), allow_pickle=False)


def encoded(probability: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Probabilities as they are stored, each off by at most 0.8 %."""
    with np.errstate(divide="ignore"):
        log_odds = np.log(probability) - np.log1p(-probability)
    codes: NDArray[np.uint8] = np.rint((log_odds.clip(-LIMIT, LIMIT) + LIMIT) * (_CODES / (2 * LIMIT))).astype(np.uint8)
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
            return len(file.files)

    def probability(self, index: int) -> NDArray[np.float32]:
        """The map ``[*spatial]`` of a class.

        Raises:
            InputError: the file is damaged.
        """
        try:
            with self._open() as file:
                probability: NDArray[np.float32] = _DECODED[file[str(index)]]
                return probability
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damaged() from error

    def check(self, classes: int, shape: tuple[int, ...]) -> None:
        """Makes sure that there is a map of every class on the grid of a label.

        Raises:
            InputError: there is not, so that the file is of something else.
        """
        if self.classes != classes or self._shape != shape:
            problem = f"holds {self.classes} maps of {self._shape} voxels, not {classes} of {shape}"
            raise InputError(self.path, problem, "delete it and run the audit again: it is made anew")

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return self.probability(0).shape

    def _open(self) -> Any:
        try:
            return np.load(self.path, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._damaged() from error

    def _damaged(self) -> InputError:
        return InputError(self.path, "is damaged", "delete it and run the audit again: it is made anew")
