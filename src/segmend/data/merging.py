"""How several data sets fit into one: common classes and values, channels, and names of cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.paths import parse_json, read_bytes
from segmend.data.cases_table import SEPARATOR
from segmend.data.description import FILE
from segmend.data.finding import rater_folders
from segmend.data.folder import DataFolder
from segmend.data.names import LONGEST_NAME, clashes, confusable, path_part
from segmend.data.regions import has_regions

_MOST = IGNORE - 2
"""Classes besides the background."""


@dataclass(frozen=True)
class Member:
    """A case of a merged data set.

    Attributes:
        origin: number of its data set.
        case: as it is there.
        merged: what the merged data set says of it: its name, what is annotated, and as its domain the name of the data
            set, with the domain that it has there.
    """

    origin: int
    case: Case
    merged: Case


@dataclass(frozen=True)
class Merging:
    """Data sets as one.

    Attributes:
        folders: the data sets.
        channel_names: of all, in the order of the first.
        labels: class name to value, background (0) first.
        ignore: value of voxels that are not annotated, or None.
        members: all cases.
    """

    folders: tuple[DataFolder, ...]
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    ignore: int | None
    members: tuple[Member, ...]

    @classmethod
    def of(cls, roots: Sequence[Path]) -> Merging:
        """Find out how data sets fit together, before any scan or label is opened.

        The first data set keeps its values, and each class that a later one adds gets the next value.

        Raises:
            InputError: they do not fit; the message names the data sets and what differs.
        """
        _check_roots(roots)
        _check_regions(roots)
        folders = tuple(DataFolder.open(root) for root in roots)
        _check_endings(folders)
        _check_class_names(folders)
        _check_channels(folders)
        _check_raters(folders)
        labels = _merged_labels(folders)
        ignored = [folder.ignore for folder in folders if folder.ignore is not None]
        ignore = max(ignored[0], max(labels.values()) + 1) if ignored else None
        return cls(folders, folders[0].channel_names, labels, ignore, tuple(_members(folders, labels)))

    def values(self, origin: int) -> dict[int, int]:
        """Values in the label files of a data set to values in the merged one."""
        folder = self.folders[origin]
        values = {value: self.labels[_background(folder, name)] for name, value in folder.labels.items()}
        if folder.ignore is not None and self.ignore is not None:
            values[folder.ignore] = self.ignore
        return values

    def channels(self, origin: int) -> list[int]:
        """For each channel of the merged data set, its number in a data set."""
        names = self.folders[origin].channel_names
        if names == self.channel_names:
            return list(range(len(names)))
        return [names.index(name) for name in self.channel_names]


def origin_names(folders: Sequence[DataFolder]) -> list[str]:
    """A name for each data set: its own, or that of its folder where two have the same.

    Raises:
        InputError: two have the same folder name, too.
    """
    for names in ([folder.name for folder in folders], [folder.root.resolve().name for folder in folders]):
        if len(set(map(confusable, names))) == len(names):
            return names
    twice = next(name for name, count in Counter(map(confusable, names)).items() if count > 1)
    second = [folder for folder, name in zip(folders, names, strict=True) if confusable(name) == twice][1]
    problem = f"is called '{second.name}', as another of these data sets is, and so is its folder"
    raise InputError(second.root, problem, "give each a 'name' of its own in dataset.json", code="duplicate")


def _background(folder: DataFolder, name: str) -> str:
    """The name in the merged data set; the background is one class, however each data set calls it."""
    return "background" if folder.labels[name] == 0 else name


def _check_roots(roots: Sequence[Path]) -> None:
    if len(roots) < 2:
        raise InputError("data", f"names {len(roots)} data set", "give two or more", code="missing-value")
    seen: set[Path] = set()
    for root in roots:
        if root.resolve() in seen:
            raise InputError(root, "is given twice", "give each data set once", code="duplicate")
        seen.add(root.resolve())


def _check_regions(roots: Sequence[Path]) -> None:
    """Refuse regions, whose classes overlap: they have no value of their own that could be renumbered."""
    regions = {}
    for root in roots:
        content = parse_json(root / FILE, read_bytes(root / FILE, "give data folders, which hold dataset.json"))
        regions[root] = has_regions(content.get("labels"))
    having = [root for root, has in regions.items() if has]
    if having:
        other = next((root for root, has in regions.items() if not has), None)
        problem = "has classes that are regions" + (f", and {other} has not" if other else "")
        remedy = "merge data sets with one value for each class, and define the regions in the merged dataset.json"
        raise InputError(having[0] / FILE, problem, remedy, code="unsupported" if other is None else "mismatch")


def _check_endings(folders: Sequence[DataFolder]) -> None:
    first = folders[0]
    for folder in folders[1:]:
        if folder.file_ending != first.file_ending:
            problem = f"has {folder.file_ending} files, but {first.root} has {first.file_ending}"
            raise InputError(folder.root, problem, "convert one of them", code="mismatch")


def _check_class_names(folders: Sequence[DataFolder]) -> None:
    where: dict[str, DataFolder] = {}
    for folder in folders:
        for name in folder.labels:
            where.setdefault(_background(folder, name), folder)
    for one, other in clashes(where):
        problem = f"has the class '{other}', but {where[one].root} writes '{one}'"
        remedy = "write it in the same way in both dataset.json"
        raise InputError(where[other].root / FILE, problem, remedy, code="mismatch")
    for name, folder in where.items():
        if SEPARATOR in name:
            problem = f"has the class '{name}', whose name cannot stand in a list separated by '{SEPARATOR}'"
            raise InputError(folder.root / FILE, problem, "rename it", code="invalid-name")


def _check_channels(folders: Sequence[DataFolder]) -> None:
    first = folders[0]
    for folder in folders[1:]:
        distinct = len(set(folder.channel_names)) == len(folder.channel_names)
        same_names = distinct and sorted(folder.channel_names) == sorted(first.channel_names)
        if same_names or folder.channel_names == first.channel_names:
            continue
        named, wanted = ", ".join(folder.channel_names), ", ".join(first.channel_names)
        problem = f"has the channels {named}, but {first.root} has {wanted}"
        if not set(list(folder.labels)[1:]) & set(list(first.labels)[1:]):
            problem += ", and they have no class in common either"
        remedy = "merge data sets with the same channels; if they are, name them in the same way in dataset.json"
        raise InputError(folder.root / FILE, problem, remedy, code="mismatch")


def _check_raters(folders: Sequence[DataFolder]) -> None:
    where: dict[str, Path] = {}
    for folder in folders:
        for name in rater_folders(folder.root):
            where.setdefault(name, folder.root)
    for one, other in clashes(where):
        problem = f"has labels of '{other}', but {where[one]} has those of '{one}'"
        raise InputError(where[other], problem, "name the folders of one annotator in one way", code="mismatch")


def _merged_labels(folders: Sequence[DataFolder]) -> dict[str, int]:
    labels = {_background(folders[0], name): value for name, value in folders[0].labels.items()}
    for folder in folders[1:]:
        for name in folder.labels:
            labels.setdefault(_background(folder, name), max(labels.values()) + 1)
    if len(labels) - 1 > _MOST:
        problem = f"have {len(labels) - 1} classes together, but a label map holds {_MOST} besides the background"
        raise InputError("data", problem, "merge fewer of them", code="unsupported")
    return labels


def _members(folders: Sequence[DataFolder], labels: Mapping[str, int]) -> Iterator[Member]:
    origins = origin_names(folders)
    used = Counter(confusable(case.name) for folder in folders for case in folder.cases)
    found: dict[str, Path] = {}
    for number, (folder, origin) in enumerate(zip(folders, origins, strict=True)):
        for case in folder.cases:
            name = case.name if used[confusable(case.name)] == 1 else f"{path_part(origin)}_{case.name}"
            if len(name.encode()) > LONGEST_NAME or confusable(name) in found:
                problem = f"would be the case '{name}', which " + (
                    "is too long" if confusable(name) not in found else f"{found[confusable(name)]} is already"
                )
                raise InputError(case.images[0], problem, "rename the case", code="invalid-name")
            found[confusable(name)] = case.images[0]
            classes = case.annotated or tuple(folder.objects)
            known = case.training_label is None or set(classes) == set(list(labels)[1:])
            domain = f"{origin}/{case.domain}" if case.domain else origin
            annotated = None if known else classes
            yield Member(number, case, replace(case, name=name, domain=domain, annotated=annotated))
