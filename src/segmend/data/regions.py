"""Labels of dataset.json that are lists of values: regions that may overlap, as nnU-Net has them.

The voxels of a label file have one value each, so overlapping regions are written with a value for each combination.
A class is such a combination: classes exclude each other, as everywhere in Segmend, and a region is the union of its
classes. Values that belong to the same regions cannot be distinguished and are one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from segmend.core.errors import InputError
from segmend.data.names import check_name, clashes

IGNORED = "ignore"
"""Name of the value of voxels that are not annotated."""


@dataclass(frozen=True)
class RegionLabels:
    """Classes and regions of a data set.

    Attributes:
        labels: class name to the value that predictions are written with, background (0) first, by value.
        values: every value of a label file to the index of its class.
        regions: region name to the indices of its classes.
        ignore: value of voxels that are not annotated, or None.
    """

    labels: dict[str, int]
    values: dict[int, int]
    regions: dict[str, tuple[int, ...]]
    ignore: int | None


def has_regions(given: object) -> TypeGuard[dict[str, Any]]:
    """Whether an entry ``labels`` of dataset.json has regions: names with lists of values."""
    return isinstance(given, dict) and any(
        isinstance(value, list) and not any(isinstance(item, str) for item in value) for value in given.values()
    )


def read_regions(path: Path, given: Mapping[str, Any], order: object = None) -> RegionLabels:
    """Classes and regions from the entries ``labels`` and ``regions_class_order`` of dataset.json.

    Args:
        path: the file, for messages.
        given: names with a value or a list of values each.
        order: ``regions_class_order``: the value that nnU-Net writes for each region, later regions over earlier
            ones. Where such a value stands for the same regions as others, predictions are written with it.

    Raises:
        InputError: a region has no value, or values that are no whole numbers; two regions have the same values; there
            is no background; or the order does not fit.
    """
    regions = {check_name(path, "region", name): _values(path, name, value) for name, value in given.items()}
    for one, other in clashes(list(regions)):
        problem = f"the region names '{one}' and '{other}' differ in capitals or Unicode form only"
        raise InputError(path, problem, "rename one, as some file systems take them for one name", code="duplicate")
    ignore = _single(path, regions, IGNORED)
    background = next((name for name, values in regions.items() if 0 in values), None)
    if background is None or _single(path, regions, background) != 0:
        problem = "has no label for the value 0" if background is None else f"'{background}' has more values than 0"
        raise InputError(path, problem, 'write "background": 0, for voxels of no region', code="missing-value")
    by_values: dict[tuple[int, ...], str] = {}
    for name, values in regions.items():
        if (other := by_values.setdefault(tuple(sorted(values)), name)) != name:
            problem = f"the regions '{other}' and '{name}' have the same values {sorted(values)}"
            raise InputError(path, problem, "remove one, or correct its values", code="duplicate")
        if ignore in values:
            problem = f"the region '{name}' has the value {ignore}, which is to be ignored"
            raise InputError(path, problem, "remove it from one of the two", code="duplicate")
    preferred = _order(path, order, regions)
    members: dict[tuple[str, ...], list[int]] = {}
    for value in sorted({value for values in regions.values() for value in values}):
        members.setdefault(tuple(name for name, values in regions.items() if value in values), []).append(value)
    labels, indices, parts = {background: 0}, {0: 0}, dict[str, list[int]]({name: [] for name in regions})
    for names, values in members.items():
        index = len(labels)
        alone = len(names) == 1 and sum(names[0] in others for others in members) == 1
        title = " + ".join(names) if len(names) > 1 or alone else f"{names[0]} only"
        if title in labels:
            problem = f"has a region '{title}', which is the name of the voxels that belong to '{names[0]}' alone"
            raise InputError(path, problem, "rename that region", code="duplicate")
        labels[title] = next((value for value in preferred if value in values), values[0])
        indices |= dict.fromkeys(values, index)
        for name in names:
            parts[name].append(index)
    return RegionLabels(labels, indices, {name: tuple(indices) for name, indices in parts.items()}, ignore)


def _values(path: Path, name: str, given: object) -> list[int]:
    values: list[Any] = given if isinstance(given, list) else [given]
    if not values:
        problem = f"the region '{name}' has no value"
        raise InputError(path, problem, "list the values of its voxels, for example [1, 2]", code="missing-value")
    wrong = [value for value in values if type(value) is not int or not 0 <= value <= 65535]
    if wrong:
        problem = f"the region '{name}' has the value {ascii(wrong[0])[:80]}"
        raise InputError(path, problem, "give whole numbers from 0 to 65535", code="invalid-value")
    return values


def _single(path: Path, regions: dict[str, list[int]], name: str) -> int | None:
    """Take the label that must have one value, and is no region, out of the others."""
    values = regions.pop(name, None)
    if values is None:
        return None
    if len(values) > 1:
        raise InputError(path, f"'{name}' has the values {values}", "give it one value", code="invalid-value")
    return values[0]


def _order(path: Path, order: object, regions: Mapping[str, Sequence[int]]) -> list[int]:
    if order is None:
        return []
    known = {value for values in regions.values() for value in values}
    values: list[Any] = order if isinstance(order, list) else []
    if len(values) != len(regions) or len(set(map(repr, values))) < len(values):
        problem = f"regions_class_order is {ascii(order)[:80]}, but there are {len(regions)} regions"
        raise InputError(path, problem, "give one value for each region, in their order", code="mismatch")
    unknown = [value for value in values if value not in known]
    if unknown:
        problem = f"regions_class_order has the value {ascii(unknown[0])[:80]}, which no region has"
        raise InputError(path, problem, "give a value of that region", code="unknown-name")
    return values
