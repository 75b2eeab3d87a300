"""Reads cases and reports what is wrong with them.

Reading and checking are one step here, so that no scan or label is ever used unchecked.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
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

from segmend.core.case import Case, Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.progress import track
from segmend.core.regions import mask_of
from segmend.data.folder import DataFolder, read_folder
from segmend.data.image import Grid, read_grid, read_image, read_label
from segmend.data.memory import MemoryBudget, slabs
from segmend.data.remarks import (
    assumed_headers,
    constant_channels,
    duplicates,
    empty_label,
    odd_spacings,
    unused_raters,
)

_THREADS = min(4, os.cpu_count() or 1)
_BYTES_PER_VOXEL = 8
"""Of a file while its case is examined: intensities of 32 bits, and copies in the file's type or as class indices."""


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
        problems: errors that must be corrected.
        remarks: valid but unusual properties; reported, never raised.
    """

    folder: DataFolder | None
    grids: dict[Case, Grid] = field(default_factory=dict)
    problems: list[InputError] = field(default_factory=list)
    remarks: list[InputError] = field(default_factory=list)


def load_case(case: Case, folder: DataFolder) -> LoadedCase:
    """Read and check a case.

    Raises:
        InputError: the first of ``problems_of_case``.
    """
    loaded, problems = _examine(case, folder)
    if loaded is None:
        raise problems[0]
    return loaded


def problems_of_case(case: Case, folder: DataFolder) -> list[InputError]:
    """Everything that is wrong with the files of a case. A label of quality ``none`` is not checked."""
    return _examine(case, folder)[1]


def problems_of_folder(root: Path, cases: Path | None = None) -> list[InputError]:
    """Everything that is wrong with a data folder: first its layout, then each case."""
    return survey_folder(root, cases).problems


def survey_folder(root: Path, cases: Path | None = None) -> Survey:
    """Read a whole data folder, with every scan and label.

    Args:
        root: the data folder.
        cases: a table to use instead of ``root/cases.csv``.
    """
    folder, problems = read_folder(root, cases)
    if folder is None:
        return Survey(None, problems=problems)
    budget = MemoryBudget()
    with ThreadPoolExecutor(_THREADS) as pool:
        visits = pool.map(partial(_visit, folder=folder, budget=budget), folder.cases)
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
            *assumed_headers(grids),
            *odd_spacings(grids),
            *duplicates(digests),
        ],
    )


@dataclass(frozen=True)
class _Visit:
    """What is kept of a case once its arrays are released."""

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


def _visit(case: Case, folder: DataFolder, budget: MemoryBudget) -> _Visit:
    with budget.reserve(_size(case)):
        loaded, problems = _examine(case, folder)
        if loaded is None:
            return _Visit(problems)
        remarks = [
            *constant_channels(case, folder.channel_names, loaded.image),
            *empty_label(case, loaded.label),
        ]
        return _Visit([], remarks, loaded.grid, hashlib.blake2b(loaded.image.data).digest())


def _size(case: Case) -> int:
    """Bytes that a case takes while it is examined, by its headers; those of files that cannot be read count as 0."""
    size = 0
    for path in (*case.images, *_shown(case)):
        with contextlib.suppress(InputError):
            size += _BYTES_PER_VOXEL * math.prod(read_grid(path).shape)
    return size


def _shown(case: Case) -> list[Path]:
    return [case.label] if case.label and case.quality is not Quality.NONE else []


def _examine(case: Case, folder: DataFolder) -> tuple[LoadedCase | None, list[InputError]]:
    problems: list[InputError] = []
    scans = _open(read_image, case.images, problems)
    labels = _open(read_label, _shown(case), problems, scans[0] if scans else None)
    if not scans:
        return None, problems
    if len(scans) == len(case.images):
        problems += _wrong_channels(case, scans, folder)
    problems += _wrong_intensities(scans)
    indices = [_to_indices(label, folder, problems) for label in labels]
    for label, of_label in zip(labels, indices, strict=True):
        problems += _unannotated(label.path, of_label, case, folder)
    if problems:
        return None, problems
    image = np.concatenate([scan.array for scan in scans]) if len(scans) > 1 else scans[0].array
    return LoadedCase(image, indices[0] if indices else None, scans[0].grid), []


def _open(
    read: Callable[[Path], tuple[NDArray[Any], Grid]],
    paths: Sequence[Path],
    problems: list[InputError],
    over: _File | None = None,
) -> list[_File]:
    """The files that can be read and have the right position; for the others, the problems.

    A position other than that of the first file, or of ``over``, is detected from the header, before the voxels are
    read.
    """
    files: list[_File] = []
    for path in paths:
        scan = over or (files[0] if files else None)
        try:
            if scan is not None:
                _require_place(path, read_grid(path), scan)
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
            code="mismatch",
        )


def _require_place(path: Path, grid: Grid, scan: _File) -> None:
    if grid.shape != scan.grid.shape:
        raise InputError(
            path,
            f"has {_sides(grid)} voxels, but its scan {scan.path.name} has {_sides(scan.grid)}",
            "take the file that belongs to this scan, or resample it to the scan's grid",
            code="mismatch",
        )
    if not grid.matches(scan.grid):
        distance = grid.distance(scan.grid)
        raise InputError(
            path,
            f"lies up to {distance:.3g} mm away from its scan {scan.path.name}, as the two affines differ",
            "if it fits the scan voxel by voxel, copy the scan's header to it, otherwise resample it",
            code="mismatch",
        )


def _wrong_intensities(scans: Sequence[_File]) -> Iterator[InputError]:
    constant = True
    for scan in scans:
        limits = [(channel.min(), channel.max()) for channel in scan.array]
        if not np.isfinite(limits).all():  # both are NaN where one voxel is
            broken = sum(part.size - np.count_nonzero(np.isfinite(part)) for part in slabs(scan.array))
            remedy = "replace them, for example by the smallest intensity of the scan"
            yield InputError(scan.path, f"holds {broken} voxels that are NaN or infinite", remedy, code="invalid-value")
        constant &= all(low == high for low, high in limits)
    if constant:
        value = scans[0].array.flat[0]
        yield InputError(
            scans[0].path,
            f"has the value {value:g} everywhere",
            "export the scan again, or leave it out",
            code="invalid-value",
        )


def _to_indices(label: _File, folder: DataFolder, problems: list[InputError]) -> NDArray[np.uint8]:
    """Class indices of a label; values without a class are a problem."""
    indices = np.empty(label.array.shape, dtype=np.uint8)
    unknown: Counter[int] = Counter()
    other = False  # known values but the background
    for values, found in zip(slabs(label.array), slabs(indices), strict=True):
        found[...] = folder.to_indices(values)
        wrong = found == IGNORE
        if folder.ignore is not None:
            wrong &= values != folder.ignore
        if wrong.any():
            named, counts = np.unique(values[wrong], return_counts=True)
            unknown.update(dict(zip(named.tolist(), counts.tolist(), strict=True)))
        other = other or bool((values[~wrong] if wrong.any() else values).any())
    if unknown:
        problems.append(_unknown_values(label.path, unknown, other, folder))
    return indices


def _unannotated(path: Path, label: NDArray[np.uint8], case: Case, folder: DataFolder) -> Iterator[InputError]:
    """Voxels of classes that cases.csv says were not annotated."""
    if case.annotated is None or folder.regions:
        return
    for name, classes in folder.objects.items():
        if name not in case.annotated and (count := int(np.count_nonzero(mask_of(label, classes)))):
            problem = f"has {count} voxels of '{name}', but cases.csv says that it was not annotated in '{case.name}'"
            yield InputError(path, problem, f"add '{name}' to the column 'annotated', or remove them", code="mismatch")


def _unknown_values(path: Path, unknown: Counter[int], other: bool, folder: DataFolder) -> InputError:
    values = sorted(unknown)
    if values == [255] and not other:
        name = list(folder.labels)[-1]
        problem = "is a mask of 0 and 255, but dataset.json names no value 255"
        return InputError(
            path, problem, f'write "{name}": 255 in dataset.json, or divide the masks by 255', code="invalid-value"
        )
    listed = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
    named = ", ".join(f"{name} = {value}" for name, value in folder.labels.items())
    problem = f"has {unknown.total()} voxels of values that dataset.json does not name: {listed}"
    return InputError(
        path, problem, f"correct them, or add them to the labels, which are {named}", code="invalid-value"
    )


def _mixed_dimensions(grids: Mapping[Case, Grid]) -> Iterator[InputError]:
    counts = Counter(grid.dimensions for grid in grids.values())
    usual = max(counts, key=counts.__getitem__, default=3)
    for case, grid in grids.items():
        if grid.dimensions != usual:
            problem = f"is {grid.dimensions}D, but {counts[usual]} of {len(grids)} cases are {usual}D"
            yield InputError(case.images[0], problem, "keep 2D and 3D cases in folders of their own", code="mismatch")


def _sides(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))
