"""Evidence for ``segmend audit`` from probabilities that were made elsewhere."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.data.case import Case
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, read_image
from segmend.errors import InputError
from segmend.labels.audit.evidence import write_evidence
from segmend.labels.audit.folder import AuditFolder
from segmend.progress import track

_TOLERANCE = 0.01
"""By how much rounding may take a probability, or their sum over the classes, past where it should be."""
_ARRAY = "probabilities"
_FORMS = (
    "give a folder with CASE_CLASS.nii.gz for every class ('segmend predict --probabilities true'), "
    "or CASE.npz (nnU-Net with --npz)"
)


@dataclass(frozen=True)
class GivenProbabilities:
    """Probabilities of cases as files, in either of two forms, over the labels voxel by voxel.

    ``CASE_CLASS.nii.gz`` for every class, as ``segmend predict --probabilities true`` writes them; or ``CASE.npz`` with
    an array ``probabilities`` ``[classes, z, y, x]``, as nnU-Net does with ``--npz``, also for the validation cases of
    its folds. Nobody can tell from the files whether the models had seen the labels.

    Attributes:
        root: the folder with the files, or the one above its folder 'probabilities'.
        folder: the data folder.
    """

    root: Path
    folder: DataFolder

    def files(self, case: Case) -> list[Path]:
        """The files of a case: one, or one for each class."""
        inner = self.root / _ARRAY
        root = inner if inner.is_dir() else self.root
        packed = root / f"{case.name}.npz"
        return [packed] if packed.is_file() else [root / f"{case.name}_{name}.nii.gz" for name in self.folder.labels]

    def check(self, cases: Sequence[Case]) -> None:
        """Makes sure that there are files of all cases, of the right shape, by their headers.

        Raises:
            InputError: there are not.
        """
        if not self.root.is_dir():
            raise InputError(self.root, "is not a folder", _FORMS)
        missing = [case.name for case in cases if not all(file.is_file() for file in self.files(case))]
        if missing:
            problem = f"has no probabilities of {len(missing)} of {len(cases)} cases, '{missing[0]}' the first of them"
            raise InputError(self.root, problem, _FORMS)
        for case in cases:
            assert case.label is not None
            grid = read_grid(case.label)
            for file in self.files(case):
                self._check_place(file, grid)

    def _check_place(self, file: Path, grid: Grid) -> None:
        found = None if file.suffix == ".npz" else read_grid(file)
        shape = found.shape if found else _packed_shape(file)
        wanted = grid.shape if found else _packed(len(self.folder.labels), grid.shape)
        remedy = "export the probabilities on the grid of the scans"
        if shape != wanted:
            raise InputError(file, f"has the shape {_text(shape)}, but {_text(wanted)} lies over the label", remedy)
        if found and not found.matches(grid):
            raise InputError(file, f"lies up to {found.distance(grid):.1f} mm off the label", remedy)

    def write(self, cases: Sequence[Case], out: AuditFolder) -> None:
        """Writes the evidence of cases.

        Raises:
            InputError: a file is damaged, or does not hold probabilities.
        """
        for case in track(cases, "reading probabilities"):
            files = self.files(case)
            assert case.label is not None
            shape = read_grid(case.label).shape
            maps = _unpacked(files[0], shape) if files[0].suffix == ".npz" else _maps(files)
            write_evidence(out.evidence(case.name), _checked(maps, files[0]))


def _maps(files: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    for file in files:
        yield read_image(file)[0][0]


def _unpacked(path: Path, shape: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as content:
            probabilities = content[_ARRAY]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path) from error
    for of_class in probabilities:  # whose axes are z, y, x; 2D images have a z of 1
        yield np.ascontiguousarray(of_class.T.reshape(shape), dtype=np.float32)


def _checked(maps: Iterator[NDArray[np.float32]], path: Path) -> Iterator[NDArray[np.float32]]:
    total: NDArray[np.floating[Any]] | float = 0.0
    for of_class in maps:
        # Comparisons with NaN are false.
        if not (of_class.min() >= -_TOLERANCE and of_class.max() <= 1 + _TOLERANCE):
            raise _no_probabilities(path, f"values from {of_class.min():.4g} to {of_class.max():.4g}")
        total = total + of_class
        yield of_class.clip(0, 1)
    off = float(np.abs(total - 1).max())
    if off > 5 * _TOLERANCE:
        raise _no_probabilities(path, f"classes that sum up to 1 only within {off:.2g}")


def _packed(classes: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (classes, *(1,) * (3 - len(shape)), *reversed(shape))


def _packed_shape(path: Path) -> tuple[int, ...]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_ARRAY}.npy") as entry:
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape: tuple[int, ...] = read[np.lib.format.read_magic(entry)](entry)[0]
            return shape
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path) from error


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _damaged(path: Path) -> InputError:
    return InputError(path, f"is damaged, or holds no array '{_ARRAY}'", _FORMS)


def _no_probabilities(path: Path, found: str) -> InputError:
    return InputError(path, f"holds no probabilities, but {found}", "export them after softmax, for every class")
