"""Prepared scans and labels as compressed arrays, made once and shared by all runs.

Every array is an entry of the cache (``cache_entries``), in a file from which crops are read (``compressed``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case, Quality, Split
from segmend.core.grid import Grid
from segmend.core.masks import IGNORE
from segmend.core.progress import track
from segmend.data.cache_entries import Origin, cached_json, entry, hold
from segmend.data.cache_entries import default_cache as default_cache
from segmend.data.cache_entries import digest_of as digest_of
from segmend.data.check import LoadedCase, load_case
from segmend.data.compressed import CompressedArray, VoxelArray, write_compressed
from segmend.data.finding import CLEAN, label_of
from segmend.data.fingerprint import Fingerprint, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.preprocess import Preprocessing
from segmend.data.soft_labels import read_soft_label

_VERSION = 1
"""Of what is prepared, which runs belong to: raised when other values are."""

_FORMAT = "blosc2 1"
"""Of the files that it is kept in."""

_Read = TypeVar("_Read")

_FOREGROUND_VOXELS = 4096
_ATTEMPTS = 3


@dataclass(frozen=True)
class PreparedCase:
    """A case ready for training.

    Attributes:
        case: what it was made from.
        image: ``[channels, *spatial]`` float32; parts are read from the cache as they are asked for.
        label: ``[*spatial]`` uint8 class indices, read in the same way; None if there is no label to be shown.
        foreground: ``[n, dimensions]`` some foreground voxels of the label, for crops that contain some.
        digest: of everything above.
        spacing: mm from voxel to voxel along each axis.
        soft: ``[C, *spatial]`` float16 probability of each class, read in parts, summing to 1 over the classes, or 0 in
            all of them where nothing is known; None without soft labels.
    """

    case: Case
    image: VoxelArray
    label: VoxelArray | None
    foreground: NDArray[np.int32] | None
    digest: str
    spacing: tuple[float, ...]
    soft: VoxelArray | None = None

    @cached_property
    def foreground_by_class(self) -> tuple[NDArray[np.int32], ...]:
        """The voxels of ``foreground``, class by class; empty without a label, or if it has no foreground."""
        if self.label is None or self.foreground is None:
            return ()
        classes = np.asarray(self.label)[tuple(self.foreground.T)]
        return tuple(self.foreground[classes == value] for value in np.unique(classes))

    @property
    def given(self) -> VoxelArray:
        """The label, or ``IGNORE`` everywhere if there is none; not to be written to."""
        unknown = np.uint8(IGNORE)
        return np.broadcast_to(unknown, self.image.shape[1:]) if self.label is None else self.label


def cached_fingerprint(folder: DataFolder, cache: Path) -> Fingerprint:
    """Properties of the training scans; they are read once for the same files.

    Raises:
        InputError: there is no training case, or one cannot be used.
    """
    files = [file for case in folder.select(Split.TRAIN) for file in (*case.images, case.training_label)]
    key = digest_of("fingerprint 3", folder.labels, *_regions(folder), folder.ignore, folder.channel_names, *files)
    origin = Origin(str(folder.root.resolve()), "fingerprint")
    return Fingerprint.from_json(cached_json(cache, key, lambda: asdict(take_fingerprint(folder)), origin))


def _regions(folder: DataFolder) -> list[object]:
    """Part of a key: what the values mean where there are regions."""
    return [dict(folder.values), dict(folder.regions)] if folder.regions else []


def prepare(folder: DataFolder, cases: Sequence[Case], preprocessing: Preprocessing, cache: Path) -> list[PreparedCase]:
    """Prepares cases, or opens them if that was done before.

    A case of quality ``none`` comes back without a label even if it has a file.

    Raises:
        InputError: a file cannot be used, or the cache cannot be written to.
    """
    return [_prepare_case(folder, case, preprocessing, cache) for case in track(cases, "preparing scans")]


def true_labels(
    folder: DataFolder, cases: Sequence[Case], preprocessing: Preprocessing, cache: Path
) -> dict[str, VoxelArray]:
    """The labels in ``labelsTr_clean`` by case, prepared like all others; for evaluation, never for training.

    Raises:
        InputError: a file cannot be used, or the cache cannot be written to.
    """
    files = {case: label_of(case.name, folder.root / CLEAN, folder.file_ending) for case in cases}
    known = [replace(case, label=file, quality=Quality.EXPERT, soft=()) for case, file in files.items() if file]
    return {case.case.name: case.given for case in prepare(folder, known, preprocessing, cache)}


def data_digest(cases: Sequence[PreparedCase]) -> str:
    """A digest of all training data: names, qualities, images and labels."""
    return digest_of([(case.case.name, case.case.quality, case.digest) for case in cases])


def _prepare_case(folder: DataFolder, case: Case, preprocessing: Preprocessing, cache: Path) -> PreparedCase:
    grid = read_grid(case.images[0])
    image_digest = digest_of("image", _VERSION, _deciding(preprocessing, grid), *case.images)
    image_key, data = digest_of(_FORMAT, image_digest), str(folder.root.resolve())
    loaded: list[LoadedCase] = []  # read at most once, and only if something is missing

    def scan() -> LoadedCase:
        if not loaded:
            loaded.append(load_case(case, folder))
        return loaded[0]

    def make_image(path: Path) -> None:
        preprocessing.require_room(case.images[0], scan().grid, len(scan().image))
        placement = preprocessing.place(scan().image, scan().grid)
        write_compressed(path / "image.b2nd", preprocessing.image(scan().image, scan().grid, placement))

    def make_label(path: Path) -> None:
        given = scan().label
        assert given is not None
        placement = preprocessing.place(scan().image, scan().grid)
        label = preprocessing.label(given, scan().grid, placement)
        write_compressed(path / "label.b2nd", label)
        np.save(path / "foreground.npy", _some_foreground(label))

    def open_image() -> CompressedArray:
        return CompressedArray(entry(cache, image_key, make_image, Origin(data, "image", case.name)) / "image.b2nd")

    def open_label() -> tuple[CompressedArray, NDArray[np.int32]]:
        place = entry(cache, label_key, make_label, Origin(data, "label", case.name))
        return CompressedArray(place / "label.b2nd"), np.load(place / "foreground.npy", allow_pickle=False)

    hold(cache, [image_key])
    image, spacing = _opened(open_image), preprocessing.spacing_on(grid)
    if case.training_label is None:
        return PreparedCase(case, image, None, None, image_digest, spacing)
    meaning = (folder.labels, *_regions(folder), folder.ignore)
    label_digest = digest_of("label", image_digest, *meaning, case.training_label)
    label_key = digest_of(_FORMAT, label_digest)
    hold(cache, [label_key])
    label, foreground = _opened(open_label)
    prepared = PreparedCase(case, image, label, foreground, label_digest, spacing)
    if not case.soft:
        return prepared
    return _with_soft_label(prepared, image_digest, folder, preprocessing, cache, scan)


def _with_soft_label(
    prepared: PreparedCase,
    image_digest: str,
    folder: DataFolder,
    preprocessing: Preprocessing,
    cache: Path,
    scan: Callable[[], LoadedCase],
) -> PreparedCase:
    """The prepared case with its soft label."""
    case, data = prepared.case, str(folder.root.resolve())
    digest = digest_of("soft", image_digest, folder.labels, *case.soft)
    key = digest_of(_FORMAT, digest)

    def make(path: Path) -> None:
        placement = preprocessing.place(scan().image, scan().grid)
        maps = preprocessing.maps(read_soft_label(case.soft), scan().grid, placement)
        write_compressed(path / "soft.b2nd", maps.astype(np.float16))

    def read() -> CompressedArray:
        return CompressedArray(entry(cache, key, make, Origin(data, "soft label", case.name)) / "soft.b2nd")

    hold(cache, [key])
    return replace(prepared, soft=_opened(read), digest=digest_of(prepared.digest, digest))


def _deciding(preprocessing: Preprocessing, grid: Grid) -> dict[str, Any]:
    """What decides on the values of a prepared scan, as it was written before there was more than one interpolation."""
    settings = asdict(preprocessing)
    if preprocessing.interpolation == "linear" or not preprocessing.resamples(grid):
        del settings["interpolation"]
    return settings


def _opened(read: Callable[[], _Read]) -> _Read:
    """What is read from an entry, which may be removed by another process until this one has said that it uses it."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def _some_foreground(label: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Evenly spaced foreground voxels, the same number of every class if there are enough."""
    classes = [value for value in np.unique(label) if value not in (0, IGNORE)]
    chosen = [np.empty(0, dtype=np.int64)]
    for value in classes:
        voxels = np.flatnonzero(label == value)
        picks = np.linspace(0, voxels.size - 1, min(voxels.size, _FOREGROUND_VOXELS // len(classes)))
        chosen.append(voxels[picks.astype(np.int64)])
    return np.stack(np.unravel_index(np.concatenate(chosen), label.shape), axis=1).astype(np.int32)
