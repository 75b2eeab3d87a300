"""The labels that several raters drew of the same cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case
from segmend.core.errors import InputError, did_you_mean
from segmend.core.masks import IGNORE
from segmend.core.paths import is_folder
from segmend.core.values import names_among
from segmend.data.finding import MAIN, label_of, rater_folders
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, read_label
from segmend.data.names import canonical


def find_raters(folder: DataFolder) -> dict[str, Path]:
    """Folders of the raters by name: ``labelsTr``, if it exists, then each ``labelsTr_NAME`` as NAME.

    Raises:
        InputError: a folder cannot be listed.
    """
    main = {MAIN: folder.root / MAIN} if is_folder(folder.root / MAIN) else {}
    return main | rater_folders(folder.root)


def choose_raters(folder: DataFolder, names: Iterable[str] | None) -> dict[str, Path]:
    """The folders of some raters, all by default.

    Raises:
        InputError: there is no such rater.
    """
    known = find_raters(folder)
    given = [] if names is None else [canonical(name) for name in names_among(names, known.keys())]
    chosen = list(known) if names is None else list(dict.fromkeys(given))
    for name in chosen:
        if name not in known:
            raise InputError("raters", f"there is no rater '{name}'", did_you_mean(name, known), code="unknown-name")
    return {name: known[name] for name in chosen}


def drawings_of(case: Case, folder: DataFolder, raters: Mapping[str, Path]) -> dict[str, Path]:
    """Label files of a case by rater."""
    files = {name: label_of(case.name, path, folder.file_ending) for name, path in raters.items()}
    return {name: file for name, file in files.items() if file}


def read_drawing(path: Path, folder: DataFolder, grid: Grid) -> NDArray[np.uint8]:
    """Class indices ``[*spatial]`` of a label file, ``IGNORE`` where not annotated.

    Raises:
        InputError: it cannot be read, does not lie on the grid, or holds values that dataset.json does not name.
    """
    if not read_grid(path).matches(grid):
        raise InputError(path, "does not lie over its scan", "resample it to the scan's grid", code="mismatch")
    return to_known_indices(path, folder, read_label(path)[0])


def to_known_indices(path: Path, folder: DataFolder, values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Class indices of the values of a label file, ``IGNORE`` where not annotated.

    Args:
        path: the file, for messages.
        folder: of whose classes it is.
        values: ``[*spatial]``, as they are in the file.

    Raises:
        InputError: there are values that dataset.json does not name.
    """
    indices = folder.to_indices(values)
    unknown = np.setdiff1d(values[indices == IGNORE], [] if folder.ignore is None else [folder.ignore])
    if unknown.size:
        problem = f"holds values that dataset.json does not name: {', '.join(map(str, unknown[:5].tolist()))}"
        raise InputError(path, problem, "correct them, or add them to the labels", code="invalid-value")
    return indices
