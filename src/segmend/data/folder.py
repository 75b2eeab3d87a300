"""The data folder: nnU-Net's layout plus one optional table that says how far each label can be trusted."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.data.case import Case, Quality, Split
from segmend.data.image import ENDINGS, case_name, is_image_file
from segmend.errors import InputError, did_you_mean
from segmend.functional.voxel import IGNORE

COLUMNS = ("case", "split", "quality", "domain", "annotator")
"""Columns of cases.csv; only the first must be there."""

CLEAN = "labelsTr_clean"
"""Folder of the true labels of cases whose labels were made noisy on purpose."""

_IMAGE_NAME = re.compile(r"(.+)_([0-9]{4})")


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
    """

    root: Path
    name: str
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    ignore: int | None
    file_ending: str
    cases: tuple[Case, ...]

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
            raise InputError(first.where, first.problem, first.remedy + more)
        return folder

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels)

    def select(self, split: Split | None = None, quality: Quality | None = None) -> tuple[Case, ...]:
        """The cases of a split and quality, in alphabetical order; None takes all."""
        return tuple(c for c in self.cases if split in (None, c.split) and quality in (None, c.quality))

    def to_indices(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Label values as in the files to class indices; the ignored value and unknown ones become ``IGNORE``."""
        indices = np.full(values.shape, IGNORE, dtype=np.uint8)
        for index, value in enumerate(self.labels.values()):
            indices[values == value] = index
        return indices

    def to_values(self, indices: NDArray[np.integer]) -> NDArray[np.integer]:
        """Class indices to label values as in the files."""
        table = np.zeros(256, dtype=np.uint16)
        table[: self.classes] = list(self.labels.values())
        table[IGNORE] = self.ignore or 0
        values: NDArray[np.uint16] = table[indices]
        return values


def read_folder(root: Path, cases: Path | None = None) -> tuple[DataFolder | None, list[InputError]]:
    """Reads a data folder as far as it goes.

    Returns:
        The folder (None if not even dataset.json can be used) and everything that is wrong with its
        layout. Scans and labels are not opened; ``problems_of_case`` does that.
    """
    try:
        folder = _read_description(root)
    except InputError as error:
        return None, [error]
    problems: list[InputError] = []
    found: dict[str, Case] = {}
    for case in _find_cases(folder, problems):
        if case.name in found:
            problems.append(
                InputError(case.images[0], f"has the name of the training case '{case.name}'", "rename one of the two")
            )
        found[case.name] = case
    table = cases or root / "cases.csv"
    if table.is_file():
        found |= _apply_table(table, folder, found, problems)
    elif cases:
        problems.append(InputError(cases, "does not exist", "give a table with a column 'case'"))
    if not found and not problems:
        remedy = f"put CASE_0000{folder.file_ending} files there"
        problems.append(InputError(root / "imagesTr", "holds no images", remedy))
    return replace(folder, cases=tuple(found[name] for name in sorted(found))), problems


def _read_description(root: Path) -> DataFolder:
    path = root / "dataset.json"
    if not root.is_dir():
        raise InputError(root, "is not a folder", "give the folder that holds dataset.json and imagesTr")
    if not path.is_file():
        raise InputError(path, "does not exist", "write one with channel_names, labels and file_ending")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"is not valid JSON ({error})", "correct it") from error
    if not isinstance(content, dict):
        raise InputError(path, "is not a JSON object", "write {channel_names, labels, file_ending}")
    ending = content.get("file_ending")
    if ending not in ENDINGS:
        raise InputError(path, f"file_ending is {ending!r}", f"give one of {', '.join(ENDINGS)}")
    channels = content.get("channel_names", content.get("modality"))
    if not isinstance(channels, dict) or not channels or not all(key.isdecimal() for key in channels):
        raise InputError(path, "has no usable channel_names", 'write for example {"0": "CT"}')
    labels, ignore = _read_labels(path, content.get("labels"))
    return DataFolder(
        root=root,
        name=str(content.get("name", root.resolve().name)),
        channel_names=tuple(str(channels[key]) for key in sorted(channels, key=int)),
        labels=labels,
        ignore=ignore,
        file_ending=ending,
        cases=(),
    )


def _read_labels(path: Path, given: Any) -> tuple[dict[str, int], int | None]:
    """Class names to values; also accepts the Decathlon's inverse form {"0": "background"}."""
    if not isinstance(given, dict) or not given:
        raise InputError(path, "has no labels", 'write for example {"background": 0, "liver": 1}')
    if all(key.isdecimal() for key in given):
        if len({str(name) for name in given.values()}) < len(given):
            raise InputError(path, f"two labels share a name in {given}", "give each its own")
        given = {str(name): int(value) for value, name in given.items()}
    if not all(type(value) is int and 0 <= value < 65536 for value in given.values()):
        raise InputError(path, f"labels must map names to whole numbers, but are {given}", "regions are not supported")
    by_value = dict(sorted(given.items(), key=lambda item: item[1]))
    ignore = by_value.pop("ignore", None)
    if len(set(by_value.values())) < len(by_value) or ignore in by_value.values():
        raise InputError(path, f"two labels share a value in {given}", "give each its own")
    if 0 not in by_value.values() or not 2 <= len(by_value) < IGNORE:
        raise InputError(path, f"labels are {given}", "give background = 0 and 1 to 253 classes more")
    return by_value, ignore


def _find_cases(folder: DataFolder, problems: list[InputError]) -> Iterator[Case]:
    for ending, split in (("Tr", Split.TRAIN), ("Ts", Split.TEST)):
        images = folder.root / f"images{ending}"
        if not images.is_dir():
            if split is Split.TRAIN:
                problems.append(InputError(images, "does not exist", "put the training images there"))
            continue
        by_case: dict[str, list[Path]] = {}
        for path in sorted(images.iterdir()):
            if not is_image_file(path):
                continue
            named = _IMAGE_NAME.fullmatch(case_name(path))
            if named is None or not path.name.endswith(folder.file_ending):
                problems.append(InputError(path, "is not named CASE_0000" + folder.file_ending, "rename it"))
                continue
            by_case.setdefault(named[1], []).append(path)
        for name, paths in by_case.items():
            label = folder.root / f"labels{ending}" / (name + folder.file_ending)
            if [int(case_name(path)[-4:]) for path in paths] != list(range(len(paths))):
                files = ", ".join(path.name for path in paths)
                problems.append(InputError(images / name, f"has the channels {files}", "number them 0000, 0001..."))
            known = label if label.is_file() else None
            quality = Quality.NONE if known is None else Quality.EXPERT if split is Split.TEST else Quality.NOISY
            yield Case(name, tuple(paths), known, split, quality)


def _apply_table(path: Path, folder: DataFolder, found: dict[str, Case], problems: list[InputError]) -> dict[str, Case]:
    rows: dict[str, Case] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            lines = [(reader.line_num, line) for line in reader]
            columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(InputError(path, f"cannot be read as a table ({error})", "save it as UTF-8 CSV"))
        return rows
    for column in columns:
        if column not in COLUMNS:
            problems.append(InputError(path, f"has an unknown column '{column}'", did_you_mean(column, COLUMNS)))
    if "case" not in columns:
        problems.append(InputError(path, "has no column 'case'", f"its columns are {', '.join(COLUMNS)}"))
        return rows
    for number, line in lines:
        where, name = f"{path} line {number}", (line["case"] or "").strip()
        if None in line:
            problems.append(InputError(where, "has more cells than there are columns", "quote cells that hold commas"))
        elif name in rows:
            problems.append(InputError(where, f"case '{name}' stands there twice", "keep one line"))
        elif name not in found:
            problems.append(InputError(where, f"case '{name}' has no image", did_you_mean(name, found)))
        else:
            try:
                rows[name] = _describe(folder, found[name], line, where)
            except InputError as error:
                problems.append(error)
    return rows


def _describe(folder: DataFolder, case: Case, line: dict[str, str | None], where: str) -> Case:
    """The case as one line of the table describes it."""
    value = {column: (line.get(column) or "").strip() for column in COLUMNS}
    split, quality = Split(case.split), Quality(case.quality)
    if value["split"]:
        if value["split"] not in set(Split):
            raise InputError(where, f"split is '{value['split']}'", did_you_mean(value["split"], Split))
        split = Split(value["split"])
    label = case.label
    of_rater = folder.root / f"labelsTr_{value['annotator']}"
    if value["annotator"] and of_rater.is_dir():
        label = of_rater / (case.name + folder.file_ending)
        if not label.is_file():
            raise InputError(where, f"annotator '{value['annotator']}' drew no label {label}", "name another annotator")
        quality = Quality.NOISY if quality is Quality.NONE else quality
    if value["quality"]:
        if value["quality"] not in set(Quality):
            raise InputError(where, f"quality is '{value['quality']}'", did_you_mean(value["quality"], Quality))
        quality = Quality(value["quality"])
        if quality is not Quality.NONE and label is None:
            raise InputError(where, f"quality is '{quality}', but there is no label", "add the label, or write 'none'")
    return replace(
        case, label=label, split=split, quality=quality, domain=value["domain"], annotator=value["annotator"]
    )
