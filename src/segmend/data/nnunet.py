"""What nnU-Net records about its arrays: the reader that determined the order of the axes, and the classes.

``nnUNetv2_train`` and ``nnUNetv2_predict`` leave ``dataset.json`` and ``plans.json`` in the folder of the model, two
levels above the validation cases, and next to predictions. The entry ``image_reader_writer`` of the plans names the
class of ``nnunetv2.imageio`` that read the scans; ``overwrite_image_reader_writer`` of ``dataset.json`` prescribes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmend.core.errors import InputError

_PARENTS = 3
"""Folders above the arrays that are searched: fold, model and data set."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A value from a file.

    Attributes:
        value: the value.
        where: the file.
    """

    value: Any
    where: Path


def declared_reader(arrays: Path, data: Path) -> Declared | None:
    """The name of the reader that gave arrays the order of their axes; None if nothing names one.

    Args:
        arrays: folder of the arrays.
        data: the data folder, whose ``dataset.json`` is searched last.

    Raises:
        InputError: a file that should say so is not valid JSON, or names no reader by a text.
    """
    for folder in (*_around(arrays), data):
        given = folder in (arrays.resolve(), data)
        for name, key in (("plans.json", "image_reader_writer"), ("dataset.json", "overwrite_image_reader_writer")):
            reader = _read(folder / name, strict=given).get(key)
            if reader not in (None, "", "None"):
                if not isinstance(reader, str):
                    raise InputError(
                        folder / name,
                        f"{key} is {reader!r}",
                        "give the name of a reader of nnU-Net",
                        code="invalid-value",
                    )
                return Declared(reader, folder / name)
    return None


def declared_labels(arrays: Path) -> Declared | None:
    """The entry ``labels`` of the model's own ``dataset.json``, as it is written; None if there is none.

    Args:
        arrays: folder of the arrays or label maps.

    Raises:
        InputError: the file in this very folder is not valid JSON.
    """
    for folder in _around(arrays):
        file = folder / "dataset.json"
        labels = _read(file, strict=folder == arrays.resolve()).get("labels")
        if isinstance(labels, dict):
            return Declared(labels, file)
    return None


def declared_classes(arrays: Path) -> Declared | None:
    """The names of the classes in the order of the arrays, as the model's own ``dataset.json`` gives them.

    Args:
        arrays: folder of the arrays.

    Raises:
        InputError: the model segments regions, whose probabilities do not exclude one another.
    """
    declared = declared_labels(arrays)
    if declared is None:
        return None
    labels = declared.value
    if any(isinstance(value, list) for value in labels.values()):
        problem = "is of a model of regions, whose probabilities overlap and do not sum to 1"
        remedy = "give probabilities of a model with one class for each voxel, or its label maps"
        raise InputError(declared.where, problem, remedy, code="unsupported")
    if not all(type(value) is int for value in labels.values()):
        return None
    named = sorted((value, name) for name, value in labels.items() if name != "ignore")
    return Declared(tuple(name for _, name in named), declared.where)


def _around(arrays: Path) -> Iterator[Path]:
    root = arrays.resolve()
    yield from (root, *list(root.parents)[:_PARENTS])


def _read(file: Path, *, strict: bool) -> dict[str, Any]:
    """The content of a JSON file; empty if there is none or it is of something else.

    Args:
        file: may be missing.
        strict: whether a damaged file is an error; above the named folders, files may be unrelated.
    """
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        if not strict:
            return {}
        raise InputError(
            file, f"cannot be read ({error})", "copy it again from the folder of the model", code="damaged"
        ) from error
    return content if isinstance(content, dict) else {}
