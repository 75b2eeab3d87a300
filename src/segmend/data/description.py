"""dataset.json: what the channels and labels of a data folder are called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.paths import parse_json, read_bytes
from segmend.data.image import ENDINGS
from segmend.data.names import check_name, clashes
from segmend.data.regions import IGNORED, has_regions, read_regions

FILE = "dataset.json"

HIGHEST_VALUE = 65535
_LONGEST_NUMBER = 5


@dataclass(frozen=True)
class Description:
    """What dataset.json says.

    Attributes:
        name: the data set's name.
        channel_names: in the order of their numbers.
        labels: class name to value in the label files, by value, background (0) first.
        ignore: value of voxels that are not annotated, or None.
        file_ending: ending of all files.
        content: the file as it was read.
        regions: region name to the indices of its classes; empty without regions.
        values: every value of a label file to the index of its class; empty if that of ``labels`` is the only one.
    """

    name: str
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    ignore: int | None
    file_ending: str
    content: bytes
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[int, int] = field(default_factory=dict)


def read_description(root: Path) -> Description:
    """Read the dataset.json of a data folder.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = root / FILE
    raw = read_bytes(path, "write one with channel_names, labels and file_ending")
    content = parse_json(path, raw, "{channel_names, labels, file_ending}")
    ending = content.get("file_ending")
    if not isinstance(ending, str) or ending not in ENDINGS:
        raise InputError(
            path, f"file_ending is {_short(ending)}", f"give one of {', '.join(ENDINGS)}", code="invalid-value"
        )
    channels = read_channels(path, content.get("channel_names", content.get("modality")))
    name, given = _name(path, content.get("name"), root), content.get("labels")
    if has_regions(given):
        found = read_regions(path, given, content.get("regions_class_order"))
        _check_number(path, given, found.labels)
        return Description(
            name, channels, found.labels, found.ignore, ending, raw, regions=found.regions, values=found.values
        )
    labels, ignore = read_labels(path, given)
    return Description(name, channels, labels, ignore, ending, raw)


def read_labels(path: Path, given: Any) -> tuple[dict[str, int], int | None]:
    """Class names to values by value, and the value to ignore, from the entry ``labels`` of dataset.json.

    Args:
        path: the file, for messages.
        given: ``{name: value}``, or the Decathlon's inverse form ``{"0": "background"}``.

    Raises:
        InputError: it is neither, or two labels share a name or a value.
    """
    if not isinstance(given, dict) or not given:
        raise InputError(path, "has no labels", 'write for example {"background": 0, "liver": 1}', code="missing-value")
    pairs = _inverse(path, given) if _is_inverse(given) else list(given.items())
    wrong = [value for _, value in pairs if type(value) is not int or not 0 <= value <= HIGHEST_VALUE]
    if wrong:
        problem = f"labels must map names to whole numbers from 0 to {HIGHEST_VALUE}, but one is {_short(wrong[0])}"
        raise InputError(
            path, problem, "give each class a value, or each region a list of values", code="invalid-value"
        )
    names = [check_name(path, "class", name) for name, _ in pairs]
    for one, other in clashes(names):
        problem = f"the class names '{one}' and '{other}' differ in capitals or Unicode form only"
        raise InputError(path, problem, "rename one, as some file systems take them for one name", code="duplicate")
    for name in names:
        if name != IGNORED and name.casefold() == IGNORED:
            raise InputError(
                path, f"a class is called '{name}'", f"write '{IGNORED}' for what is not annotated", code="invalid-name"
            )
    by_value = dict(sorted(zip(names, (value for _, value in pairs), strict=True), key=lambda pair: pair[1]))
    ignore = by_value.pop(IGNORED, None)
    if len(set(by_value.values())) < len(by_value) or ignore in by_value.values():
        raise InputError(path, f"two labels share a value in {_short(given)}", "give each its own", code="duplicate")
    _check_number(path, given, by_value)
    return by_value, ignore


def _check_number(path: Path, given: Any, labels: Mapping[str, int]) -> None:
    if 0 not in labels.values() or not 2 <= len(labels) < IGNORE:
        raise InputError(
            path, f"labels are {_short(given)}", "give background = 0 and 1 to 253 classes more", code="invalid-value"
        )


def read_channels(path: Path, given: Any) -> tuple[str, ...]:
    """Names of the channels by their numbers."""
    if not isinstance(given, dict) or not given or not all(_is_number(key) for key in given):
        raise InputError(path, "has no usable channel_names", 'write for example {"0": "CT"}', code="missing-value")
    numbered = sorted(((int(key), name) for key, name in given.items()), key=lambda pair: pair[0])
    if [number for number, _ in numbered] != list(range(len(numbered))):
        numbers = ", ".join(str(number) for number, _ in numbered)
        raise InputError(
            path,
            f"channel_names are numbered {numbers}",
            "number them 0, 1, 2, ... as the image files",
            code="invalid-value",
        )
    return tuple(check_name(path, "channel", name) for _, name in numbered)


def _is_inverse(given: Mapping[str, Any]) -> bool:
    return all(_is_number(key) for key in given) and not all(type(value) is int for value in given.values())


def _inverse(path: Path, given: Mapping[str, Any]) -> list[tuple[str, int]]:
    pairs = [(check_name(path, "class", name), int(value)) for value, name in given.items()]
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError(path, f"two labels share a name in {_short(given)}", "give each its own", code="duplicate")
    return pairs


def _is_number(key: str) -> bool:
    """Whether a key is a number as the files have it: ASCII digits, and not more than a label value can have."""
    return key.isascii() and key.isdigit() and len(key.lstrip("0")) <= _LONGEST_NUMBER


def _name(path: Path, given: object, root: Path) -> str:
    """The data set's name; that of its folder, where none is given."""
    if given is None or given == "":
        return os.fsencode(root.resolve().name).decode(errors="replace")
    return check_name(path, "name", given.strip() if isinstance(given, str) else given)


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 200 else f"{text[:150]}..."
