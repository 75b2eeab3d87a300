"""Checks of scans before their voxels are read: files are complete and on the same grid."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel

from segmend.core.errors import InputError
from segmend.data.image import NIFTI, Grid, read_grid, read_image

_LISTED = 20


def check_scan(files: Sequence[Path], dimensions: int) -> None:
    """Check that the files of a scan are complete, on the same grid and have the right number of axes.

    For NIfTI files only the headers and lengths are checked; all others are read.

    Args:
        files: one for each channel.
        dimensions: 2 or 3.

    Raises:
        InputError: they do not.
    """
    grids = [read_grid(file) for file in files]
    check_grids(files, grids, dimensions)
    for file in files:
        if not has_its_length(file):
            read_image(file)


def check_grids(files: Sequence[Path], grids: Sequence[Grid], dimensions: int) -> None:
    """Check that the channels of a scan are on the same grid and have the right number of axes.

    Raises:
        InputError: they do not.
    """
    for file, grid in zip(files[1:], grids[1:], strict=True):
        if not grid.matches(grids[0]):
            raise InputError(
                file, f"does not lie over {files[0].name}", "resample it to the same grid", code="mismatch"
            )
    if grids[0].dimensions != dimensions:
        problem = f"is {grids[0].dimensions}D, but the run was trained on {dimensions}D images"
        raise InputError(files[0], problem, "give images like those of the training", code="mismatch")


def collected(checks: Iterable[None]) -> Iterator[InputError]:
    """The problems that a generator of checks raises; it must survive them, as ``map`` does."""
    steps = iter(checks)
    while True:
        try:
            next(steps)
        except StopIteration:
            return
        except InputError as error:
            yield error


def raise_all(where: object, what: str, problems: Sequence[InputError], note: str = "") -> None:
    """Raise one error that names all problems; a single one as it is.

    Args:
        where: the folder, or the argument.
        what: that has the problems, in the plural.
        problems: of single files; nothing is raised without any.
        note: additional information.

    Raises:
        InputError: there are problems.
    """
    if not problems:
        return
    if len(problems) == 1:
        (problem,) = problems
        raise problem.but(problem=problem.problem + note)
    details = [f"{problem.where}: {problem.problem}" for problem in problems[:_LISTED]]
    if len(problems) > _LISTED:
        details.append("...")
    codes = {problem.code for problem in problems}
    raise InputError(
        where,
        f"has {len(problems)} {what} that cannot be used{note}",
        "repair them or take them out",
        details,
        code=codes.pop() if len(codes) == 1 else "damaged",
    )


def has_its_length(file: Path) -> bool:
    """Whether a NIfTI file is as long as its header says; False if that is unknown without reading it.

    The last four bytes of a gzip file tell how long its content is: those of one that was cut off do not.
    """
    if not file.name.lower().endswith(NIFTI):
        return False
    voxels: Any = nibabel.load(file).dataobj
    length = int(voxels.offset) + math.prod(map(int, voxels.shape)) * int(voxels.dtype.itemsize)
    if file.name.lower().endswith(".gz"):
        with file.open("rb") as stream:
            stream.seek(-4, os.SEEK_END)
            return int.from_bytes(stream.read(4), "little") == length % 2**32
    return file.stat().st_size == length
