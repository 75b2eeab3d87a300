"""The classes of another program, found by their names: what a value of its label maps stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError, did_you_mean
from segmend.core.masks import IGNORE
from segmend.data.description import read_labels
from segmend.data.folder import DataFolder
from segmend.data.names import confusable
from segmend.data.nnunet import declared_labels


def name_of(label: str, names: Iterable[str]) -> str | None:
    """The name that another program gives to a class: the same, or one that differs in capitals or separators only."""
    wanted = _plain(label)
    same = [name for name in names if _plain(name) == wanted]
    return label if label in same else same[0] if len(same) == 1 else None


def require_name(where: Path, label: str, names: Iterable[str]) -> str:
    """The name that another program gives to a class.

    Args:
        where: what the names come from.
        label: name of a class of the data.
        names: that the other program gives.

    Raises:
        InputError: it has no such class.
    """
    known = list(names)
    found = name_of(label, known)
    if found is None:
        remedy = f"{did_you_mean(label, known)}; name its classes as dataset.json of the data does"
        raise InputError(where, f"has no class '{label}', which is to be judged", remedy, code="unknown-name")
    return found


def index_of_value(root: Path, folder: DataFolder) -> Mapping[int, int]:
    """The class index of each value of the label maps in a folder.

    A ``dataset.json`` next to them, or up to three folders above, names their values; classes that the data do not have
    are background. Without one, values are those of the data.

    Args:
        root: the folder of the label maps.
        folder: the data folder.

    Raises:
        InputError: that file cannot be used, or lacks a class of the data.
    """
    own = dict(folder.values) or {value: index for index, value in enumerate(folder.labels.values())}
    declared = declared_labels(root)
    if declared is None:
        return own
    if any(isinstance(value, list) for value in declared.value.values()):
        if folder.regions and set(declared.value) - {"ignore"} == {*folder.regions, next(iter(folder.labels))}:
            return own
        problem = "is of a model of other regions than the data have"
        raise InputError(declared.where, problem, "give label maps of the same regions", code="mismatch")
    values, _ = read_labels(declared.where, declared.value)
    _, *classes = folder.labels
    found = {values[require_name(declared.where, label, values)]: index for index, label in enumerate(classes, start=1)}
    return dict.fromkeys(values.values(), 0) | found


def to_indices(file: Path, values: NDArray[np.integer[Any]], index_of: Mapping[int, int]) -> NDArray[np.uint8]:
    """Class indices ``[*spatial]`` of a label map.

    Args:
        file: that was read, for messages.
        values: as in the file.
        index_of: class index of each value.

    Raises:
        InputError: it holds a value that stands for nothing.
    """
    indices = np.full(values.shape, IGNORE, np.uint8)
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high < 2**16:
        table = np.full(high + 1, IGNORE, np.uint8)
        for value, index in index_of.items():
            if value <= high:
                table[value] = index
        indices = table[values]
    unknown = np.unique(values[indices == IGNORE])
    if unknown.size:
        listed = ", ".join(map(str, unknown[:5].tolist()))
        remedy = "put a dataset.json with the labels of the program next to its label maps"
        raise InputError(file, f"holds values that stand for no class: {listed}", remedy, code="invalid-value")
    return indices


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", confusable(name))
