"""Probabilities as an array for each case that has no header: those of nnU-Net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.audit.external.form import text
from segmend.audit.external.layout import Layout, all_layouts
from segmend.audit.external.npz import npz_maps, npz_shape
from segmend.audit.external.values import check_probabilities, with_background
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid
from segmend.data.nnunet import Declared, declared_classes, declared_reader


@dataclass(frozen=True)
class PackedArrays:
    """``CASE.npz`` with an array ``probabilities`` ``[classes, *axes]``.

    nnU-Net writes it with ``--npz``, also for the validation cases of its folds. Such an array has no header: its axis
    order follows from the reader that nnU-Net's own files name, or else is the one that fits the labels best.

    Attributes:
        root: the folder with the files.
        folder: the data folder.
        found: array of each case, where they do not lie in one folder; ``root`` then holds nnU-Net's own files.
    """

    root: Path
    folder: DataFolder
    found: Mapping[str, Path] | None = None

    def files(self, case: Case) -> list[Path]:
        """The array."""
        return [self.root / f"{case.name}.npz" if self.found is None else self.found[case.name]]

    def holds(self, case: Case) -> bool:
        """Whether it is there."""
        return self.files(case)[0].is_file()

    @property
    def declared(self) -> dict[str, object]:
        """What nnU-Net's own files say of the arrays."""
        return {
            "reader": self._reader.value if self._reader else None,
            "classes": list(self._classes.value) if self._classes else None,
        }

    def check(self, cases: Sequence[Case]) -> None:
        """Check that all arrays have the classes and the shape of a label, in some order of axes."""
        for case in cases:
            assert case.label is not None
            self._check(self.files(case)[0], read_grid(case.label))

    def shape(self, case: Case, grid: Grid) -> tuple[int, ...]:
        """The axes of an array but that of the classes."""
        return _axes(npz_shape(self.files(case)[0])[1:], grid)

    def declaration(self, dimensions: int) -> tuple[Layout | None, str]:
        """By the reader that nnU-Net's own files name."""
        if self._reader is None:
            return None, "No plans.json or dataset.json says which reader of nnU-Net gave the arrays their axes"
        name, where, layout = self._reader.value, self._reader.where, self._read_layout(dimensions)
        if layout is None:
            return None, f"{where} names the reader '{name}', which is not known"
        return layout, f"The arrays are in the order of nnU-Net's {name}, which {where} names"

    def fit(self, cases: Sequence[Case], workers: int) -> None:
        """Nothing but the order of the axes is open, which takes the labels of all cases."""

    def predicted(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """The most probable class, once the array was found to hold probabilities."""
        return check_probabilities(self.files(case)[0], list(self.folder.labels), self._maps(case, grid))

    def probabilities(self, case: Case, grid: Grid) -> Iterator[tuple[int, NDArray[Any]]]:
        """The map of each class."""
        return with_background(self._maps(case, grid))

    @cached_property
    def _reader(self) -> Declared | None:
        return declared_reader(self.root, self.folder.root)

    @cached_property
    def _classes(self) -> Declared | None:
        return declared_classes(self.root)

    @cached_property
    def _order(self) -> list[int]:
        """Class of each place in the arrays: that of its name, where nnU-Net's own dataset.json says it."""
        names = list(self.folder.labels)
        if self._classes and sorted(self._classes.value) == sorted(names):
            return [names.index(name) for name in self._classes.value]
        return list(range(len(names)))

    def _maps(self, case: Case, grid: Grid) -> Iterator[tuple[int, NDArray[Any]]]:
        for index, of_class in zip(self._order, npz_maps(self.files(case)[0]), strict=True):
            yield index, of_class.reshape(_axes(of_class.shape, grid))

    def _check(self, file: Path, grid: Grid) -> None:
        shape, classes = npz_shape(file), len(self.folder.labels)
        if (
            len(shape) > 1
            and shape[0] == classes
            and any(layout.fits(_axes(shape[1:], grid), grid) for layout in self._possible(grid))
        ):
            return
        usual = self._possible(grid)[0].shape_on(grid)
        wanted = (classes, *(1,) * (3 - grid.dimensions), *usual)
        named = ", ".join(self.folder.labels)
        found = "has the shape " + text(shape) + f", but {text(wanted)} lies over the label"
        remedy = "export the probabilities on the grid of the scans, for every class"
        if shape[0] == classes - 1:
            found += f"; the background seems to be missing, as the classes are {named}"
        elif shape[-1] == classes and shape[0] != classes:
            found += "; the classes seem to be its last axis, but belong to its first"
        elif shape[0] != classes:
            found += f"; the classes are {named}"
        elif len(shape) == len(wanted) and all(np.less_equal(sorted(shape[1:]), sorted(wanted[1:]))):
            found += "; it seems to be cropped"
        elif self._reader:
            found += f" as {self._reader.value} reads it, which {self._reader.where} names"
        raise InputError(file, found, remedy, code="mismatch")

    def _read_layout(self, dimensions: int) -> Layout | None:
        """What the declared reader gives; None if none is declared or it is unknown."""
        return Layout.of_reader(self._reader.value, dimensions) if self._reader else None

    def _possible(self, grid: Grid) -> list[Layout]:
        declared = self._read_layout(grid.dimensions)
        return [declared] if declared else list(all_layouts(grid.dimensions))


def _axes(shape: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """The shape without the axis of 1 that nnU-Net gives to pictures."""
    if grid.dimensions == 2 and len(shape) == 3 and 1 in shape:
        place = shape.index(1)
        return shape[:place] + shape[place + 1 :]
    return shape
