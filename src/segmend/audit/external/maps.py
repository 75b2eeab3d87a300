"""Probabilities as a map for each class, on the grid of the label by their headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.audit.external.form import check_place
from segmend.audit.external.layout import Layout
from segmend.audit.external.values import check_probabilities, with_background
from segmend.core.case import Case
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, read_image
from segmend.data.maps import MapNames


@dataclass(frozen=True)
class ProbabilityMaps:
    """``CASE_CLASS.nii.gz`` for every class, as ``segmend predict --probabilities true`` writes them.

    Attributes:
        root: the folder with the files.
        folder: the data folder.
    """

    root: Path
    folder: DataFolder

    def files(self, case: Case) -> list[Path]:
        """The map of each class."""
        return [self._names.file(self.root, case.name, label) for label in self.folder.labels]

    def holds(self, case: Case) -> bool:
        """Whether there is one of each class."""
        return all(file.is_file() for file in self.files(case))

    @property
    def declared(self) -> dict[str, object]:
        """Nothing but the files themselves matters."""
        return {"reader": None, "classes": None}

    def check(self, cases: Sequence[Case]) -> None:
        """Check names, and that all maps lie over their labels."""
        self._names.check(self.root)
        for case in cases:
            assert case.label is not None
            grid = read_grid(case.label)
            for file in self.files(case):
                check_place(file, grid, "probabilities")

    def shape(self, case: Case, grid: Grid) -> tuple[int, ...]:
        """That of the label."""
        return grid.shape

    def declaration(self, dimensions: int) -> tuple[Layout | None, str]:
        """As the label."""
        return Layout.own_axes(dimensions), "The maps of probabilities lie on the labels by their headers"

    def fit(self, cases: Sequence[Case], workers: int) -> None:
        """Nothing is open."""

    def predicted(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """The most probable class, once all maps were found to be probabilities."""
        return check_probabilities(self.files(case)[0], list(self.folder.labels), self._maps(case))

    def probabilities(self, case: Case, grid: Grid) -> Iterator[tuple[int, NDArray[Any]]]:
        """The map of each class."""
        return with_background(self._maps(case))

    @cached_property
    def _names(self) -> MapNames:
        return MapNames([case.name for case in self.folder.cases], self.folder.labels)

    def _maps(self, case: Case) -> Iterator[tuple[int, NDArray[Any]]]:
        return ((index, read_image(file)[0][0]) for index, file in enumerate(self.files(case)))
