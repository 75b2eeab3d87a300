"""The data folder: nnU-Net's layout plus an optional table with the quality of each label."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.paths import is_file, is_folder
from segmend.core.regions import objects_of
from segmend.data.cases_table import read_cases
from segmend.data.description import read_description
from segmend.data.finding import (
    CLEAN,
    find_labels,
    find_scans,
    misnamed_folders,
    misnamed_tables,
    rater_folders,
    stray_labels,
)
from segmend.data.image import case_name
from segmend.data.names import confusable

_HIGHEST_IN_TABLE = 65535
"""Highest value that dataset.json may give a label."""


@dataclass(frozen=True)
class DataFolder:
    """What a data folder holds, before any scan is opened.

    Attributes:
        root: the folder.
        name: the data set's name.
        channel_names: image channels in the order of the file suffixes ``_0000``, ``_0001``...
        labels: class name to value in the label files, background (0) first, then by value.
        ignore: value of voxels that are not annotated (nnU-Net's ``ignore`` label), or None.
        file_ending: ending of all files.
        cases: all cases, by name.
        description: dataset.json as it was read.
        table: the table that was read in the place of cases.csv, or None.
        regions: region name to the indices of its classes; empty where each class is an object of its own.
        values: every value of a label file to the index of its class; empty if that of ``labels`` is the only one.
    """

    root: Path
    name: str
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    ignore: int | None
    file_ending: str
    cases: tuple[Case, ...]
    description: bytes = b""
    table: Path | None = None
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, cases: Path | None = None) -> DataFolder:
        """Reads dataset.json, the file names and cases.csv.

        Args:
            root: the data folder.
            cases: a table to use instead of ``root/cases.csv``, for folders that cannot be written to.

        Raises:
            InputError: the folder cannot be used; the message is the first of ``problems``.
        """
        folder, problems = read_folder(root, cases)
        if folder is None or problems:
            first, others = problems[0], len(problems) - 1
            more = f" ({others} more: run 'segmend check --data {root}')" if others else ""
            raise first.but(remedy=first.remedy + more)
        return folder

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels)

    @property
    def objects(self) -> dict[str, tuple[int, ...]]:
        """What is segmented, with the indices of its classes: the regions, or each class but the background."""
        return objects_of(self.labels, self.regions)

    def select(self, split: Split | None = None, quality: Quality | None = None) -> tuple[Case, ...]:
        """The cases of a split and quality, in alphabetical order; None takes all."""
        return tuple(c for c in self.cases if split in (None, c.split) and quality in (None, c.quality))

    def to_indices(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Label values as in the files to class indices; the ignored value and unknown ones become ``IGNORE``."""
        known = self.values or {value: at for at, value in enumerate(self.labels.values())}
        if not values.size or values.min() < 0 or values.max() > _HIGHEST_IN_TABLE:
            indices = np.full(values.shape, IGNORE, dtype=np.uint8)
            for value, index in known.items():
                indices[values == value] = index
            return indices
        table = np.full(_HIGHEST_IN_TABLE + 1, IGNORE, dtype=np.uint8)
        table[list(known)] = list(known.values())
        # One look-up takes the same time whatever the number of classes. Transposed, so that the order in memory stays.
        found: NDArray[np.uint8] = table[values.T].T if values.flags.f_contiguous else table[values]
        return found

    def to_values(self, indices: NDArray[np.integer]) -> NDArray[np.integer]:
        """Class indices to label values as in the files."""
        table = np.zeros(256, dtype=np.uint16)
        table[: self.classes] = list(self.labels.values())
        table[IGNORE] = self.ignore or 0
        values: NDArray[np.uint16] = table[indices]
        return values


def read_folder(root: Path, cases: Path | None = None) -> tuple[DataFolder | None, list[InputError]]:
    """Read as much of a data folder as possible.

    Returns:
        The folder (None if not even dataset.json can be used) and everything that is wrong with its
        layout. Scans and labels are not opened; ``problems_of_case`` does that.
    """
    try:
        folder = _described(root)
    except InputError as error:
        return None, [error]
    problems: list[InputError] = []
    with _listing(problems):
        problems += misnamed_folders(root)
    found: dict[str, Case] = {}
    training: dict[str, str] = {}
    for case in _find_cases(folder, problems):
        form = confusable(case.name)
        if case.split is Split.TRAIN:
            training[form] = case.name
        elif form in training:
            problem = f"has the name of the training case '{training[form]}'"
            problems.append(InputError(case.images[0], problem, "rename one of the two", code="duplicate"))
        found[case.name] = case
    labels = _labels_of_raters(folder, found, problems)
    table = cases or root / "cases.csv"
    with _listing(problems):
        if is_file(table):
            found |= read_cases(table, found, labels, folder.objects, problems)
        elif cases:
            problems.append(
                InputError(cases, "does not exist", "give a table with a column 'case'", code="missing-file")
            )
        else:
            problems += misnamed_tables(root)
    if not found and not problems:
        remedy = f"put CASE_0000{folder.file_ending} files there"
        problems.append(InputError(root / "imagesTr", "holds no images", remedy, code="no-data"))
    return replace(folder, cases=tuple(found[name] for name in sorted(found)), table=cases), problems


def _described(root: Path) -> DataFolder:
    if not is_folder(root):
        raise InputError(
            root, "is not a folder", "give the folder that holds dataset.json and imagesTr", code="missing-file"
        )
    found = read_description(root)
    return DataFolder(
        root=root,
        name=found.name,
        channel_names=found.channel_names,
        labels=found.labels,
        ignore=found.ignore,
        file_ending=found.file_ending,
        cases=(),
        description=found.content,
        regions=found.regions,
        values=found.values,
    )


def _find_cases(folder: DataFolder, problems: list[InputError]) -> Iterator[Case]:
    for part, split in (("Tr", Split.TRAIN), ("Ts", Split.TEST)):
        images, labels = folder.root / f"images{part}", folder.root / f"labels{part}"
        scans: dict[str, list[Path]] = {}
        known: dict[str, Path] = {}
        before = len(problems)
        with _listing(problems):
            scans = find_scans(images, folder.file_ending, problems)
            if split is Split.TRAIN and not is_folder(images):
                problems.append(
                    InputError(images, "does not exist", "put the training images there", code="missing-file")
                )
        complete = len(problems) == before  # otherwise labels may be of scans that were not found
        with _listing(problems):
            known = find_labels(labels, folder.file_ending, problems)
            if complete and scans:
                problems += stray_labels(labels, folder.file_ending, scans)
            elif complete and split is Split.TEST and known:
                remedy = f"put the scans of these labels there, or remove {labels.name}"
                problems.append(
                    InputError(images, f"holds no images, but {labels.name} holds labels", remedy, code="no-data")
                )
        for name, paths in scans.items():
            if [int(case_name(path)[-4:]) for path in paths] != list(range(len(paths))):
                files = ", ".join(path.name for path in paths)
                problems.append(
                    InputError(
                        images / name, f"has the channels {files}", "number them 0000, 0001...", code="missing-file"
                    )
                )
            label = known.get(name)
            quality = Quality.NONE if label is None else Quality.EXPERT if split is Split.TEST else Quality.NOISY
            yield Case(name, tuple(paths), label, split, quality)


def _labels_of_raters(
    folder: DataFolder, names: Collection[str], problems: list[InputError]
) -> dict[str, dict[str, Path]]:
    """Label files of each further rater by case."""
    raters: dict[str, Path] = {}
    with _listing(problems):
        raters = rater_folders(folder.root)
    found: dict[str, dict[str, Path]] = {}
    for rater, place in [*raters.items(), (CLEAN, folder.root / CLEAN)]:
        with _listing(problems):
            found[rater] = find_labels(place, folder.file_ending, problems)
            if names:
                problems += stray_labels(place, folder.file_ending, names)
    return {rater: found.get(rater, {}) for rater in raters}


@contextmanager
def _listing(problems: list[InputError]) -> Iterator[None]:
    """List an error of the block among the problems, so that the next part is checked too."""
    try:
        yield
    except InputError as error:
        problems.append(error)
