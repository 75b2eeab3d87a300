"""A label file that a person has drawn, taken as the new label of a case."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.cache_entries import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import is_image_file, read_label, write_label
from segmend.data.names import path_part
from segmend.data.raters import read_drawing
from segmend.review.export import FOLDER
from segmend.review.scans import ReviewedScans, label_of

_DIGITS = 12
"""Of the digest in the name of a copy: each content has a file of its own, so that earlier ones can be taken again."""


def take_label(scans: ReviewedScans, case: Case, file: Path) -> tuple[str, int]:
    """Check a label file and keep a copy of it, with the header of the label that it replaces.

    Args:
        scans: of the audit.
        case: the case.
        file: the new label, on the grid of the scan, with the values of dataset.json.

    Returns:
        The copy, relative to the audit's folder, and how many voxels differ from the label.

    Raises:
        InputError: the file is missing, does not lie over the scan, or holds values that dataset.json does not name.
    """
    if not is_image_file(file):
        remedy = "give a label file, such as the one that was saved in ITK-SNAP or 3D Slicer"
        raise InputError(file, "is no image file", remedy, code="unsupported")
    folder: DataFolder = scans.folder
    grid = scans.grid(case)
    new = read_drawing(file, folder, grid)
    _check_annotated(case, folder, file, set(np.unique(new).tolist()))
    values, _ = read_label(file)
    old = folder.to_indices(read_label(label_of(case))[0])
    name = f"{path_part(case.name)}.{digest_of(file)[:_DIGITS]}{folder.file_ending}"
    copy = scans.place.root / FOLDER / "labels" / name
    write_label(copy, values, like=label_of(case))
    return f"{FOLDER}/labels/{name}", int(np.count_nonzero(new != old))


def _check_annotated(case: Case, folder: DataFolder, file: Path, held: set[int]) -> None:
    """A class that is not listed as annotated must not occur."""
    if case.annotated is None:
        return
    allowed = {index for name in case.annotated for index in folder.objects.get(name, ())}
    unlisted = sorted(held - allowed - {0, IGNORE})
    if unlisted:
        name = list(folder.labels)[unlisted[0]]
        problem = f"holds '{name}', which cases.csv does not list as annotated in case '{case.name}'"
        raise InputError(file, problem, "erase it, or add it to the column 'annotated'", code="mismatch")
