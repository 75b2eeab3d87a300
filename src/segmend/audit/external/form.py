"""What the files of another program must offer to judge labels, whatever their form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segmend.audit.external.layout import Layout
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.data.image import Grid, read_grid

NEEDED = (
    "give a folder with CASE_CLASS.nii.gz for every class (which 'segmend predict' writes with `probabilities`), "
    "CASE.npz (nnU-Net with --npz), label maps CASE.nii.gz of any program, or CASE/CLASS.nii.gz of TotalSegmentator"
)
"""What a user may give."""


class Form(Protocol):
    """Probabilities of the classes of all cases, from files of one form.

    Arrays are along the axes of their files; the axes of a label follow from a layout.
    """

    def files(self, case: Case) -> list[Path]:
        """The files of a case, whether they are there or not."""
        ...

    def holds(self, case: Case) -> bool:
        """Whether the files of a case are there."""
        ...

    @property
    def declared(self) -> dict[str, object]:
        """What is known of all files together and decides how they are read, for the settings of an audit."""
        ...

    def check(self, cases: Sequence[Case]) -> None:
        """Check the files of all cases by their headers.

        Raises:
            InputError: a file cannot be used.
        """
        ...

    def shape(self, case: Case, grid: Grid) -> tuple[int, ...]:
        """The axes of the arrays of a case, by their headers."""
        ...

    def declaration(self, dimensions: int) -> tuple[Layout | None, str]:
        """How the arrays lie by what is written of them, None if nothing is; and who says so, to begin a remark."""
        ...

    def fit(self, cases: Sequence[Case], workers: int) -> None:
        """Learn from the labels of all cases what the files leave open.

        Args:
            cases: those to judge.
            workers: how many processes work on cases at once.

        Raises:
            InputError: a file is damaged.
        """
        ...

    def predicted(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """The most probable class ``[*axes]`` of a case, once everything in its files was verified.

        Raises:
            InputError: a file is damaged, or does not hold what it should.
        """
        ...

    def probabilities(self, case: Case, grid: Grid) -> Iterator[tuple[int, NDArray[Any]]]:
        """Index and map ``[*axes]`` of each class, within 0..1, in any order.

        Raises:
            InputError: a file is damaged.
        """
        ...


def check_place(file: Path, grid: Grid, what: str) -> None:
    """Check that a file lies over its label.

    Args:
        file: with a header.
        grid: of the label.
        what: what the file holds, in the plural.

    Raises:
        InputError: it does not.
    """
    found, remedy = read_grid(file), f"export the {what} on the grid of the scans"
    if found.shape != grid.shape:
        problem = f"has the shape {text(found.shape)}, but {text(grid.shape)} lies over the label"
        raise InputError(file, problem, remedy, code="mismatch")
    if not found.matches(grid):
        raise InputError(file, f"lies up to {found.distance(grid):.1f} mm off the label", remedy, code="mismatch")


def text(shape: Sequence[int]) -> str:
    """A shape for people."""
    return " x ".join(map(str, shape))
