"""File names of maps: one for each case and class, and never the same for two pairs of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from segmend.core.errors import InputError
from segmend.data.names import check_file_name, confusable, path_part

_ENDING = ".nii.gz"


class MapNames:
    """The file names ``CASE_CLASS.nii.gz`` of the maps of some cases and classes.

    Where two of them would share a name, underscores of the longer class name become ``%5F``: case 'p1' with class
    'left_kidney' has ``p1_left%5Fkidney.nii.gz``, case 'p1_left' with class 'kidney' ``p1_left_kidney.nii.gz``.

    Args:
        cases: names of the cases.
        labels: names of the classes.
    """

    def __init__(self, cases: Collection[str], labels: Collection[str]) -> None:
        self.cases, self.labels = tuple(cases), tuple(labels)
        self._shortest: dict[str, int] = {}
        for case in self.cases:
            for label in self.labels:
                name = _plain(case, label)
                self._shortest[name] = min(len(label), self._shortest.get(name, len(label)))

    def name(self, case: str, label: str) -> str:
        """The file name of the map of a class."""
        plain = _plain(case, label)
        return plain if len(label) == self._shortest.get(plain, len(label)) else _encoded(case, label)

    def file(self, folder: Path, case: str, label: str) -> Path:
        """The map of a class in a folder, which may have been written together with those of other cases."""
        encoded = folder / _encoded(case, label)
        return encoded if encoded.is_file() else folder / self.name(case, label)

    def check(self, where: object) -> None:
        """Makes sure that all maps can lie in one folder, on any file system.

        Args:
            where: what the names come from.

        Raises:
            InputError: two file names differ in capitals or Unicode form only, or one is too long.
        """
        found: dict[str, tuple[str, str]] = {}
        for case in self.cases:
            for label in self.labels:
                name = check_file_name(where, self.name(case, label))
                other = found.setdefault(confusable(name), (case, label))
                if other != (case, label):
                    problem = (
                        f"case '{other[0]}' with class '{other[1]}' and case '{case}' with class '{label}' "
                        f"need maps of one file name, {name}"
                    )
                    raise InputError(where, problem, "rename a case or a class", code="duplicate")


def _plain(case: str, label: str) -> str:
    return f"{path_part(case)}_{path_part(label)}{_ENDING}"


def _encoded(case: str, label: str) -> str:
    return f"{path_part(case)}_{path_part(label).replace('_', '%5F')}{_ENDING}"
