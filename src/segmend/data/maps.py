"""File names of maps: one for each case and class."""

from __future__ import annotations

from collections.abc import Collection

from segmend.core.errors import InputError
from segmend.data.names import check_file_name, confusable, path_part

_ENDING = ".nii.gz"


def map_name(case: str, label: str) -> str:
    """The file name of the map of a class, ``CASE_CLASS.nii.gz``; see ``check_map_names``.

    Args:
        case: name of the case.
        label: name of the class.
    """
    return f"{path_part(case)}_{path_part(label)}{_ENDING}"


def check_map_names(where: object, cases: Collection[str], labels: Collection[str]) -> None:
    """Check that no two maps of some cases and classes share a file name, on any file system.

    Case 'p1' with class 'left_kidney' would have the file of case 'p1_left' with class 'kidney'.

    Args:
        where: what the names come from.
        cases: names of the cases.
        labels: names of the classes.

    Raises:
        InputError: two file names are the same or differ in capitals or Unicode form only, or one is too long.
    """
    found: dict[str, tuple[str, str]] = {}
    for case in cases:
        for label in labels:
            name = check_file_name(where, map_name(case, label))
            other = found.setdefault(confusable(name), (case, label))
            if other != (case, label):
                problem = (
                    f"case '{other[0]}' with class '{other[1]}' and case '{case}' with class '{label}' "
                    f"need maps of one file name, {name}"
                )
                raise InputError(where, problem, "rename a case or a class")
