"""Reads cases and says what is wrong with them.

Reading and checking are one here, so that no scan or label is ever used unchecked.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.data.case import Case, Quality
from segmend.data.folder import DataFolder, read_folder
from segmend.data.image import Grid, read_image, read_label
from segmend.data.remarks import constant_channels, duplicates, empty_label, odd_spacings, unused_raters
from segmend.errors import InputError
from segmend.functional.voxel import IGNORE
from segmend.progress import track

_THREADS = min(4, os.cpu_count() or 1)  # each holds a whole case in memory


@dataclass(frozen=True)
class LoadedCase:
    """The contents of a case in which nothing was found wrong.

    Attributes:
        image: ``[channels, *spatial]`` float32, finite.
        label: ``[*spatial]`` uint8 class indices, ``IGNORE`` where not annotated; None if there is no
            label or its quality is ``none``.
        grid: where the voxels lie.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    grid: Grid


@dataclass(frozen=True)
class Survey:
    """What was found in a data folder.

    Attributes:
        folder: the folder, or None if not even its dataset.json can be used.
        grids: grid of each case without problems.
        problems: what must be solved.
        remarks: what is legal but worth a look; told, never raised.
    """

    folder: DataFolder | None
    grids: dict[Case, Grid] = field(default_factory=dict)
    problems: list[InputError] = field(default_factory=list)
    remarks: list[InputError] = field(default_factory=list)


def load_case(case: Case, folder: DataFolder) -> LoadedCase:
    """Reads and checks a case.

    Raises:
        InputError: the first of ``problems_of_case``.
    """
    loaded, problems = _examine(case, folder)
    if loaded is None:
        raise problems[0]
    return loaded


def problems_of_case(case: Case, folder: DataFolder) -> list[InputError]:
    """Everything that is wrong with the files of a case. A label of quality ``none`` is not looked at."""
    return _examine(case, folder)[1]


def problems_of_folder(root: Path, cases: Path | None = None) -> list[InputError]:
    """Everything that is wrong with a data folder: first its layout, then case by case."""
    return survey_folder(root, cases).problems


def survey_folder(root: Path, cases: Path | None = None) -> Survey:
    """Reads a whole data folder, every scan and label of it.

    Args:
        root: the data folder.
        cases: a table to use instead of ``root/cases.csv``.
    """
    folder, problems = read_folder(root, cases)
    if folder is None:
        return Survey(None, problems=problems)
    with ThreadPoolExecutor(_THREADS) as pool:
        visits = pool.map(partial(_visit, folder=folder), folder.cases)
        seen = dict(zip(folder.cases, track(visits, "checking cases", len(folder.cases)), strict=True))
    grids = {case: visit.grid for case, visit in seen.items() if visit.grid}
    digests = {case: visit.digest for case, visit in seen.items() if visit.grid}
    return Survey(
        folder,
        grids,
        [*problems, *[p for visit in seen.values() for p in visit.problems], *_mixed_dimensions(grids)],
        [
            *unused_raters(folder),
            *[remark for visit in seen.values() for remark in visit.remarks],
            *odd_spacings(grids),
            *duplicates(digests),
        ],
    )


@dataclass(frozen=True)
class _Visit:
    """What is kept of a case once its arrays are let go."""

    problems: list[InputError]
    remarks: list[InputError] = field(default_factory=list)
    grid: Grid | None = None
    digest: bytes = b""


@dataclass(frozen=True)
class _File:
    """An opened scan ``[channels, *spatial]`` or label ``[*spatial]``."""

    path: Path
    array: NDArray[Any]
    grid: Grid


def _visit(case: Case, folder: DataFolder) -> _Visit:
    loaded, problems = _examine(case, folder)
    if loaded is None:
        return _Visit(problems)
    remarks = [
        *constant_channels(case, folder.channel_names, loaded.image),
        *empty_label(case, loaded.label),
    ]
    return _Visit([], remarks, loaded.grid, hashlib.blake2b(loaded.image.data).digest())


def _examine(case: Case, folder: DataFolder) -> tuple[LoadedCase | None, list[InputError]]:
    shown = [case.label] if case.label and case.quality is not Quality.NONE else []
    problems: list[InputError] = []
    scans = _open(read_image, case.images, problems)
    labels = _open(read_label, shown, problems)
    if not scans:
        return None, problems
    if len(scans) == len(case.images):
        problems += _wrong_channels(case, scans, folder)
    for file in [*scans[1:], *labels]:
        problems += _wrong_place(file, scans[0])
    problems += _wrong_intensities(scans)
    for label in labels:
        problems += _wrong_values(label, folder)
    if problems:
        return None, problems
    image = np.concatenate([scan.array for scan in scans])
    return LoadedCase(image, folder.to_indices(labels[0].array) if labels else None, scans[0].grid), []


def _open(
    read: Callable[[Path], tuple[NDArray[Any], Grid]], paths: Sequence[Path], problems: list[InputError]
) -> list[_File]:
    """The files that can be read; of the others, the problems."""
    files = []
    for path in paths:
        try:
            files.append(_File(path, *read(path)))
        except InputError as error:
            problems.append(error)
    return files


def _wrong_channels(case: Case, scans: Sequence[_File], folder: DataFolder) -> Iterator[InputError]:
    found, named = sum(len(scan.array) for scan in scans), len(folder.channel_names)
    if found != named:
        files = ", ".join(f"{scan.path.name}: {len(scan.array)}" for scan in scans)
        yield InputError(
            case.images[0],
            f"case '{case.name}' has {found} channels ({files}), "
            f"but dataset.json names {named} ({', '.join(folder.channel_names)})",
            "convert colours to grey, or name all their channels"
            if found > len(scans)
            else "add or remove files, or correct channel_names",
        )


def _wrong_place(file: _File, scan: _File) -> Iterator[InputError]:
    if file.grid.shape != scan.grid.shape:
        yield InputError(
            file.path,
            f"has {_sides(file.grid)} voxels, but its scan {scan.path.name} has {_sides(scan.grid)}",
            "take the file that belongs to this scan, or resample it to the scan's grid",
        )
    elif not file.grid.matches(scan.grid):
        distance = file.grid.distance(scan.grid)
        yield InputError(
            file.path,
            f"lies up to {distance:.3g} mm away from its scan {scan.path.name}, as the two affines differ",
            "if it fits the scan voxel by voxel, copy the scan's header to it, otherwise resample it",
        )


def _wrong_intensities(scans: Sequence[_File]) -> Iterator[InputError]:
    for scan in scans:
        broken = scan.array.size - np.count_nonzero(np.isfinite(scan.array))
        if broken:
            remedy = "replace them, for example by the smallest intensity of the scan"
            yield InputError(scan.path, f"holds {broken} voxels that are NaN or infinite", remedy)
    if all(channel.min() == channel.max() for scan in scans for channel in scan.array):
        value = scans[0].array.flat[0]
        yield InputError(scans[0].path, f"has the value {value:g} everywhere", "export the scan again, or leave it out")


def _wrong_values(label: _File, folder: DataFolder) -> Iterator[InputError]:
    unknown = folder.to_indices(label.array) == IGNORE
    if folder.ignore is not None:
        unknown &= label.array != folder.ignore
    values = np.unique(label.array[unknown]).tolist()
    if not values:
        return
    if values == [255] and not label.array[~unknown].any():
        name = list(folder.labels)[-1]
        problem = "is a mask of 0 and 255, but dataset.json names no value 255"
        remedy = f'write "{name}": 255 in dataset.json, or divide the masks by 255'
    else:
        listed = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
        named = ", ".join(f"{name} = {value}" for name, value in folder.labels.items())
        problem = f"has {unknown.sum()} voxels of values that dataset.json does not name: {listed}"
        remedy = f"correct them, or add them to the labels, which are {named}"
    yield InputError(label.path, problem, remedy)


def _mixed_dimensions(grids: Mapping[Case, Grid]) -> Iterator[InputError]:
    counts = Counter(grid.dimensions for grid in grids.values())
    usual = max(counts, key=counts.__getitem__, default=3)
    for case, grid in grids.items():
        if grid.dimensions != usual:
            problem = f"is {grid.dimensions}D, but {counts[usual]} of {len(grids)} cases are {usual}D"
            yield InputError(case.images[0], problem, "keep 2D and 3D cases in folders of their own")


def _sides(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))
