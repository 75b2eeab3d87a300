"""The labels that several raters drew of the same cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.data.case import Case
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, read_label
from segmend.errors import InputError, did_you_mean
from segmend.functional.voxel import IGNORE

MAIN = "labelsTr"
"""Name of the rater whose labels lie in the folder of this name."""

_NO_RATERS = ("clean",)
"""Folders ``labelsTr_NAME`` that hold something else: the true labels under synthetic noise."""


def find_raters(folder: DataFolder) -> dict[str, Path]:
    """Folders of the raters by name: ``labelsTr``, if it exists, then each ``labelsTr_NAME`` as NAME."""
    others = sorted(path for path in folder.root.glob(f"{MAIN}_*") if path.is_dir())
    named = {path.name.removeprefix(f"{MAIN}_"): path for path in others}
    main = {MAIN: folder.root / MAIN} if (folder.root / MAIN).is_dir() else {}
    return main | {name: path for name, path in named.items() if name not in _NO_RATERS}


def choose_raters(folder: DataFolder, names: Iterable[str] | None) -> dict[str, Path]:
    """The folders of some raters, all by default.

    Raises:
        InputError: there is no such rater.
    """
    known = find_raters(folder)
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise InputError("--raters", f"there is no rater '{name}'", did_you_mean(name, known))
    return {name: known[name] for name in chosen}


def drawings_of(case: Case, folder: DataFolder, raters: Mapping[str, Path]) -> dict[str, Path]:
    """Label files of a case by rater."""
    files = {name: path / (case.name + folder.file_ending) for name, path in raters.items()}
    return {name: file for name, file in files.items() if file.is_file()}


def read_drawing(path: Path, folder: DataFolder, grid: Grid) -> NDArray[np.uint8]:
    """Class indices ``[*spatial]`` of a label file, ``IGNORE`` where not annotated.

    Raises:
        InputError: it cannot be read, does not lie on the grid, or holds values that dataset.json does not name.
    """
    if not read_grid(path).matches(grid):
        raise InputError(path, "does not lie over its scan", "resample it to the scan's grid")
    values, _ = read_label(path)
    indices = folder.to_indices(values)
    unknown = np.setdiff1d(values[indices == IGNORE], [] if folder.ignore is None else [folder.ignore])
    if unknown.size:
        problem = f"holds values that dataset.json does not name: {', '.join(map(str, unknown[:5].tolist()))}"
        raise InputError(path, problem, "correct them, or add them to the labels")
    return indices
