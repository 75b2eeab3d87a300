"""Prepared scans and labels as memory-mapped arrays, made once and shared by all runs.

Every entry is a folder named by a digest of the file contents and settings that it was made from. It is filled under
another name and then renamed, so it is complete whenever it exists: runs may share the cache, and a killed one leaves
nothing behind that another could mistake for an entry. An entry that was damaged afterwards, by a failing disk or a
clean-up, is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError
from segmend.core.folders import scratch_folder
from segmend.core.io import flush, remove_leftovers
from segmend.core.masks import IGNORE
from segmend.core.os_errors import explain_os_errors
from segmend.core.progress import track
from segmend.data.check import LoadedCase, load_case
from segmend.data.finding import CLEAN, label_of
from segmend.data.fingerprint import Fingerprint, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.preprocess import Preprocessing
from segmend.data.soft_labels import read_soft_label

_VERSION = 1
_FOREGROUND_VOXELS = 4096
_MARKS = "marks.json"
_BEGINNING = 4096  # bytes; holds shape and type of an array, and all of a small JSON file
_UNFINISHED = "unfinished"


_OTHER_CACHE = "give a folder for prepared scans by `cache` or the variable SEGMEND_CACHE"


@dataclass(frozen=True)
class PreparedCase:
    """A case ready for training.

    Attributes:
        case: what it was made from.
        image: ``[channels, *spatial]`` float32, memory-mapped.
        label: ``[*spatial]`` uint8 class indices, memory-mapped; None if there is no label to be shown.
        foreground: ``[n, dimensions]`` some foreground voxels of the label, for crops that contain some.
        digest: of everything above.
        spacing: mm from voxel to voxel along each axis.
        soft: ``[C, *spatial]`` float16 probability of each class, memory-mapped, summing to 1 over the classes, or 0 in
            all of them where nothing is known; None without soft labels.
    """

    case: Case
    image: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    foreground: NDArray[np.int32] | None
    digest: str
    spacing: tuple[float, ...]
    soft: NDArray[np.float16] | None = None

    @cached_property
    def foreground_by_class(self) -> tuple[NDArray[np.int32], ...]:
        """The voxels of ``foreground``, class by class; empty without a label, or if it has no foreground."""
        if self.label is None or self.foreground is None:
            return ()
        classes = self.label[tuple(self.foreground.T)]
        return tuple(self.foreground[classes == value] for value in np.unique(classes))

    @property
    def given(self) -> NDArray[np.uint8]:
        """The label, or ``IGNORE`` everywhere if there is none; not to be written to."""
        unknown = np.uint8(IGNORE)
        return np.broadcast_to(unknown, self.image.shape[1:]) if self.label is None else self.label


def default_cache() -> Path:
    """``$SEGMEND_CACHE``, or ``segmend`` in the folder that the operating system keeps for caches of the user.

    Raises:
        InputError: there is no home folder.
    """
    if chosen := os.environ.get("SEGMEND_CACHE"):
        return Path(chosen)
    try:
        Path.home()
    except RuntimeError as error:
        raise InputError(
            "cache", "is not given, and there is no home folder", _OTHER_CACHE, code="missing-value"
        ) from error
    return user_cache_path("segmend", appauthor=False)


def cached_fingerprint(folder: DataFolder, cache: Path) -> Fingerprint:
    """Properties of the training scans; they are read once for the same files.

    Raises:
        InputError: there is no training case, or one cannot be used.
    """
    files = [file for case in folder.select(Split.TRAIN) for file in (*case.images, case.training_label)]
    key = digest_of("fingerprint 2", folder.labels, *_regions(folder), folder.ignore, folder.channel_names, *files)
    return Fingerprint.from_json(cached_json(cache, key, lambda: asdict(take_fingerprint(folder))))


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
) -> dict[str, NDArray[np.uint8]]:
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


def cached_json(cache: Path, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A JSON object from the cache, made if it is not there."""

    def write(path: Path) -> None:
        (path / "value.json").write_text(json.dumps(make()), encoding="utf-8")

    content: dict[str, Any] = json.loads((_entry(cache, key, write) / "value.json").read_text(encoding="utf-8"))
    return content


def digest_of(*parts: object) -> str:
    """A digest of values that print equally if they are equal, and of the contents of files given by their path.

    Raises:
        InputError: a file cannot be read.
    """
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            try:
                with part.open("rb") as file:
                    state.update(hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise InputError(part, f"cannot be read ({error.strerror})", "restore it", code="unreadable") from error
        else:
            state.update(repr(part).encode())
    return state.hexdigest()


def _prepare_case(folder: DataFolder, case: Case, preprocessing: Preprocessing, cache: Path) -> PreparedCase:
    image_key = digest_of("image", _VERSION, asdict(preprocessing), *case.images)
    loaded: list[LoadedCase] = []  # read at most once, and only if something is missing

    def scan() -> LoadedCase:
        if not loaded:
            loaded.append(load_case(case, folder))
        return loaded[0]

    def make_image(path: Path) -> None:
        preprocessing.require_room(case.images[0], scan().grid, len(scan().image))
        placement = preprocessing.place(scan().image, scan().grid)
        np.save(path / "image.npy", preprocessing.image(scan().image, scan().grid, placement))

    def make_label(path: Path) -> None:
        given = scan().label
        assert given is not None
        placement = preprocessing.place(scan().image, scan().grid)
        label = preprocessing.label(given, scan().grid, placement)
        np.save(path / "label.npy", label)
        np.save(path / "foreground.npy", _some_foreground(label))

    def make_soft(path: Path) -> None:
        placement = preprocessing.place(scan().image, scan().grid)
        maps = preprocessing.maps(read_soft_label(case.soft), scan().grid, placement)
        np.save(path / "soft.npy", maps.astype(np.float16))

    image = _array(_entry(cache, image_key, make_image) / "image.npy")
    spacing = preprocessing.spacing_on(read_grid(case.images[0]))
    if case.training_label is None:
        return PreparedCase(case, image, None, None, image_key, spacing)
    label_key = digest_of("label", image_key, folder.labels, *_regions(folder), folder.ignore, case.training_label)
    entry = _entry(cache, label_key, make_label)
    prepared = PreparedCase(
        case,
        image,
        _array(entry / "label.npy"),
        np.load(entry / "foreground.npy", allow_pickle=False),
        label_key,
        spacing,
    )
    if not case.soft:
        return prepared
    soft_key = digest_of("soft", image_key, folder.labels, *case.soft)
    soft = _array(_entry(cache, soft_key, make_soft) / "soft.npy")
    return replace(prepared, soft=soft, digest=digest_of(label_key, soft_key))


def _array(file: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _entry(cache: Path, key: str, fill: Callable[[Path], object]) -> Path:
    """The folder of an entry, which is filled if it is not there or damaged."""
    entry = cache / key[:2] / key
    remove_leftovers(cache / _UNFINISHED)
    if _is_whole(entry):
        return entry
    try:
        with explain_os_errors(cache), scratch_folder(cache / _UNFINISHED) as temporary:
            (temporary / "new").mkdir()
            fill(temporary / "new")
            marks = {file.name: _mark(file) for file in (temporary / "new").iterdir()}
            (temporary / "new" / _MARKS).write_text(json.dumps(marks), encoding="utf-8")
            flush(temporary / "new")
            _put(temporary / "new", entry, damaged=temporary / "damaged")
    except InputError as error:
        if isinstance(error.__cause__, OSError) and error.where == str(cache):
            raise error.but(where=cache, remedy=f"{error.remedy}; or {_OTHER_CACHE}") from error
        raise
    return entry


def _put(new: Path, entry: Path, damaged: Path) -> None:
    """Put a new entry into its place, unless another run was faster: its entry is equivalent."""
    if not _is_whole(entry):
        entry.parent.mkdir(exist_ok=True)
        try:
            if entry.exists():
                entry.rename(damaged)
            new.rename(entry)
        except OSError:
            if not _is_whole(entry):
                raise


def _is_whole(entry: Path) -> bool:
    """Whether all files of an entry are as they were written, by their lengths and beginnings."""
    try:
        marks = json.loads((entry / _MARKS).read_text(encoding="utf-8"))
        return bool(marks) and all(_mark(entry / name) == mark for name, mark in marks.items())
    except (OSError, ValueError, AttributeError):
        return False


def _mark(file: Path) -> list[int | str]:
    with file.open("rb") as stream:
        beginning = hashlib.blake2b(stream.read(_BEGINNING), digest_size=16)
        return [os.fstat(stream.fileno()).st_size, beginning.hexdigest()]


def _some_foreground(label: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Evenly spaced foreground voxels, the same number of every class if there are enough."""
    classes = [value for value in np.unique(label) if value not in (0, IGNORE)]
    chosen = [np.empty(0, dtype=np.int64)]
    for value in classes:
        voxels = np.flatnonzero(label == value)
        picks = np.linspace(0, voxels.size - 1, min(voxels.size, _FOREGROUND_VOXELS // len(classes)))
        chosen.append(voxels[picks.astype(np.int64)])
    return np.stack(np.unravel_index(np.concatenate(chosen), label.shape), axis=1).astype(np.int32)
