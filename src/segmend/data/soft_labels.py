"""Soft labels: a probability map for each class, in the folder 'soft' of a data folder.

The maps are files ``CASE_CLASS.nii.gz`` (``data.maps``) on the grid of the scan, background included, as 'segmend fuse'
and 'segmend correct' write them into 'soft', and 'segmend predict' into 'probabilities'. At each voxel they sum to 1
over the classes, or to 0 where nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Split
from segmend.core.errors import InputError
from segmend.core.paths import is_file, is_folder
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, read_image
from segmend.data.maps import MapNames

SOFT = "soft"
"""Folder of the maps within a data folder."""

_TOLERANCE = 0.02
"""Deviation of a sum over the classes from 1 that is taken for rounding: maps may come from files of 8 bits."""

_REMEDY = "write the maps with 'segmend fuse --soft true', or train on class labels by leaving `labels` out"


def with_soft_labels(folder: DataFolder) -> DataFolder:
    """The same folder, whose labelled training cases have soft labels. Only headers are read.

    Raises:
        InputError: a map is missing, or does not lie over its scan; or the folder has regions, or cases in which some
            classes are not annotated.
    """
    if folder.regions:
        problem = f"is soft, but {folder.root} has the regions {', '.join(folder.regions)}"
        raise InputError("labels", problem, "leave it out: soft labels are of classes", code="unsupported")
    if partial := [case.name for case in folder.cases if case.annotated is not None and case.training_label]:
        problem = f"is soft, but not all classes are annotated in {len(partial)} cases; the first is {partial[0]}"
        raise InputError("labels", problem, "leave it out, or leave out these cases", code="unsupported")
    root = folder.root / SOFT
    if not is_folder(root):
        raise InputError(root, "is not a folder", _REMEDY, code="missing-file")
    names = MapNames([case.name for case in folder.cases], folder.labels)
    cases, missing = [], []
    for case in folder.cases:
        if case.split is not Split.TRAIN or case.training_label is None:
            cases.append(case)
            continue
        files = tuple(names.file(root, case.name, label) for label in folder.labels)
        missing += [file for file in files if not is_file(file)]
        cases.append(replace(case, soft=files))
    if missing:
        others = f", nor do {len(missing) - 1} others" if len(missing) > 1 else ""
        problem = f"does not exist{others}: each labelled training case needs a map of each class"
        raise InputError(missing[0], problem, _REMEDY, code="missing-file")
    for case in cases:
        if case.soft:
            check_maps(case.soft, read_grid(case.images[0]))
    return replace(folder, cases=tuple(cases))


def check_maps(files: Sequence[Path], grid: Grid) -> None:
    """Make sure that maps lie over their scan, by their headers.

    Args:
        files: one for each class.
        grid: of the scan.

    Raises:
        InputError: one does not, or cannot be read.
    """
    for file in files:
        of_map = read_grid(file)
        if of_map.shape != grid.shape or not of_map.matches(grid):
            raise InputError(file, "does not lie over its scan", "resample it to the scan's grid", code="mismatch")


def read_map(file: Path) -> NDArray[np.float32]:
    """Read the map ``[*spatial]`` of a class, 0..1.

    Raises:
        InputError: it cannot be read, has several channels, or holds values that are no probabilities.
    """
    channels, _ = read_image(file)
    if len(channels) != 1:
        problem = f"has {len(channels)} channels, a probability map has one"
        raise InputError(file, problem, "save one file for each class", code="unsupported")
    probability = channels[0]
    low, high = float(probability.min()), float(probability.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # NaN compares as false
        problem = f"holds values from {low:g} to {high:g}, which are no probabilities"
        raise InputError(file, problem, "save probabilities from 0 to 1", code="invalid-value")
    clipped: NDArray[np.float32] = probability.clip(0, 1)
    return clipped


def read_soft_label(files: Sequence[Path]) -> NDArray[np.float32]:
    """Read the maps of a case.

    Args:
        files: one for each class, background first.

    Returns:
        ``[C, *spatial]``, summing to 1 over the classes, or 0 in all of them where nothing is known.

    Raises:
        InputError: as ``read_map``; or the maps sum to another value.
    """
    first = read_map(files[0])
    maps = np.empty((len(files), *first.shape), np.float32)
    maps[0] = first
    for index, file in enumerate(files[1:], start=1):
        maps[index] = read_map(file)
    total = maps.sum(0)
    wrong = (np.abs(total - 1) > _TOLERANCE) & (total > _TOLERANCE)
    if wrong.any():
        voxel = tuple(int(at) for at in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        problem = (
            f"and the maps of the other classes sum to {total[voxel]:.3g} at voxel {voxel}, "
            f"and to neither 1 nor 0 at {np.count_nonzero(wrong)} voxels"
        )
        raise InputError(files[0], problem, "divide the maps by their sum", code="invalid-value")
    known = total > _TOLERANCE
    maps *= (known / np.where(known, total, 1)).astype(np.float32)
    return maps
