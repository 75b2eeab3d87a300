"""File names of maps: one for each case and class, and never the same for two pairs of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from segmend.data.names import check_file_name, confusable, path_part
from segmend.errors import InputError

_ENDING = ".nii.gz"


def map_name(case: str, label: str, labels: Collection[str]) -> str:
    """The file name of the map of a class: ``CASE_CLASS.nii.gz``.

    Where one class ends like another, underscores in its name become ``%5F``: case 'p1' with class 'left_kidney' and
    case 'p1_left' with class 'kidney' have two files.

    Args:
        case: name of the case.
        label: name of the class.
        labels: names of all classes.
    """
    part = path_part(label)
    if any(confusable(label).endswith(f"_{confusable(other)}") for other in labels):
        part = part.replace("_", "%5F")
    return f"{path_part(case)}_{part}{_ENDING}"


def check_map_names(where: object, cases: Collection[str], labels: Collection[str]) -> None:
    """Makes sure that all maps of some cases and classes can lie in one folder, on any file system.

    Args:
        where: what the names come from.
        cases: names of the cases.
        labels: names of the classes.

    Raises:
        InputError: two file names differ in capitals or Unicode form only, or one is too long.
    """
    found: dict[str, tuple[str, str]] = {}
    for case in cases:
        for label in labels:
            name = check_file_name(where, map_name(case, label, labels))
            other = found.setdefault(confusable(name), (case, label))
            if other != (case, label):
                problem = (
                    f"case '{other[0]}' with class '{other[1]}' and case '{case}' with class '{label}' "
                    f"need maps of one file name, {name}"
                )
                raise InputError(where, problem, "rename a case or a class; capitals alone do not tell files apart")


@dataclass(frozen=True)
class MapFiles:
    """The maps in a folder.

    Attributes:
        root: the folder.
        cases: names of all cases that there may be.
        labels: names of the classes, background first.
    """

    root: Path
    cases: tuple[str, ...]
    labels: tuple[str, ...]

    def files(self, case: str) -> list[Path]:
        """The file of each class of a case, whether it is there or not.

        A file without ``%5F`` in the name of its class, from an earlier version or another program, is taken where
        its name fits no other case and class.
        """
        return [self._file(case, label) for label in self.labels]

    def _file(self, case: str, label: str) -> Path:
        file, plain = self.root / map_name(case, label, self.labels), f"{case}_{label}{_ENDING}"
        if file.name == plain or "/" in plain or file.is_file() or self._names[plain] > 1:
            return file
        return self.root / plain

    @cached_property
    def _names(self) -> Counter[str]:
        """How many cases and classes each file name may stand for."""
        names: Counter[str] = Counter()
        for case in self.cases:
            for label in self.labels:
                names.update({map_name(case, label, self.labels), f"{case}_{label}{_ENDING}"})
        return names
