"""What a trained network was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segmend.core.documents import DamagedError, is_integer, is_number
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.regions import objects_of
from segmend.data.names import check_name
from segmend.data.preprocess import Normalisation, Preprocessing

_LONGEST_SIDE = 2**15
"""Voxels of a window along one axis: more than any scan has."""

_SPACINGS = (1e-6, 1e6)
"""Smallest and largest distance of voxels: a nanometre and a kilometre, in millimetres."""


@dataclass(frozen=True)
class Task:
    """What a trained network was made for; with the weights, all that prediction needs.

    Attributes:
        channel_names: image channels in order.
        labels: class name to value in label files, background first.
        dimensions: 2 or 3: of the network, which may go through 3D scans slice by slice.
        patch: sides of the window.
        preprocessing: what is done to every scan.
        fingerprint: digest of all the data that the run was trained on.
        mirroring: axes of a window along which mirroring confuses no classes; None if that is not known.
        regions: region name to the indices of its classes; empty where each class is an object of its own.
    """

    channel_names: tuple[str, ...]
    labels: dict[str, int]
    dimensions: int
    patch: tuple[int, ...]
    preprocessing: Preprocessing
    fingerprint: str
    mirroring: tuple[int, ...] | None = None
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def objects(self) -> dict[str, tuple[int, ...]]:
        """What is segmented, with the indices of its classes: the regions, or each class but the background."""
        return objects_of(self.labels, self.regions)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        rules = [[rule.low, rule.high, rule.mean, rule.sd] for rule in self.preprocessing.normalisations]
        return {
            "channel_names": list(self.channel_names),
            "labels": self.labels,
            "dimensions": self.dimensions,
            "patch": list(self.patch),
            "spacing": list(self.preprocessing.spacing),
            "normalisations": rules,
            "foreground_only": self.preprocessing.foreground_only,
            "slice_axis": self.preprocessing.slice_axis,
            # Runs of the time before splines have no such entry, and stay the same.
            **({} if self.preprocessing.interpolation == "linear" else {"interpolation": "cubic"}),
            "fingerprint": self.fingerprint,
            **({} if self.mirroring is None else {"mirroring": list(self.mirroring)}),
            **({"regions": {name: list(parts) for name, parts in self.regions.items()}} if self.regions else {}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Task:
        """The reverse of ``to_json``, of what ``check_task`` has found whole."""
        return cls(
            channel_names=tuple(content["channel_names"]),
            labels=dict(content["labels"]),
            dimensions=content["dimensions"],
            patch=tuple(content["patch"]),
            preprocessing=Preprocessing(
                spacing=tuple(content["spacing"]),
                normalisations=tuple(Normalisation(*rule) for rule in content["normalisations"]),
                foreground_only=content["foreground_only"],
                slice_axis=content["slice_axis"],
                interpolation=content.get("interpolation", "linear"),
            ),
            fingerprint=content["fingerprint"],
            mirroring=tuple(content["mirroring"]) if "mirroring" in content else None,
            regions={name: tuple(parts) for name, parts in content.get("regions", {}).items()},
        )


def check_task(content: object) -> Mapping[str, Any]:
    """Makes sure that the content of a file is a task.

    Returns:
        The content.

    Raises:
        DamagedError: a part is missing, of another kind, out of its range or does not agree with another one.
    """
    if not isinstance(content, Mapping):
        raise DamagedError("holds no JSON object")
    for part in _PARTS:
        if part not in content:
            raise DamagedError(f"has no '{part}'")
    _check_names(content["channel_names"], content["labels"])
    dimensions, patch, spacing = content["dimensions"], content["patch"], content["spacing"]
    _demand(is_integer(dimensions) and dimensions in (2, 3), "dimensions", dimensions, "2 or 3")
    sides = isinstance(patch, list) and len(patch) == dimensions and all(map(is_integer, patch))
    _demand(sides and all(1 <= side <= _LONGEST_SIDE for side in patch), "patch", patch, f"{dimensions} positive sides")
    axes = isinstance(spacing, list) and dimensions <= len(spacing) <= 3
    usable = axes and all(
        value is None or (is_number(value) and _SPACINGS[0] <= value <= _SPACINGS[1]) for value in spacing
    )
    _demand(usable, "spacing", spacing, f"{dimensions} to 3 numbers in mm, or null for that of a scan")
    rules, channels = content["normalisations"], len(content["channel_names"])
    _demand(
        isinstance(rules, list) and len(rules) == channels, "normalisations", rules, f"{channels} rules, one a channel"
    )
    for rule in rules:
        _demand(
            _is_rule(rule), "normalisations", rule, "[low, high, mean, sd], each a number or null, with low <= high"
        )
    _demand(
        isinstance(content["foreground_only"], bool), "foreground_only", content["foreground_only"], "true or false"
    )
    axis = content["slice_axis"]
    _demand(is_integer(axis) and 0 <= axis <= 2, "slice_axis", axis, "0, 1 or 2")
    interpolation = content.get("interpolation", "linear")
    _demand(interpolation in ("linear", "cubic"), "interpolation", interpolation, "linear or cubic")
    _demand(isinstance(content["fingerprint"], str), "fingerprint", content["fingerprint"], "text")
    mirroring = content.get("mirroring", [])
    axes = isinstance(mirroring, list) and all(is_integer(each) and 0 <= each < dimensions for each in mirroring)
    _demand(axes, "mirroring", mirroring, f"numbers of axes below {dimensions}")
    _check_regions(content.get("regions", {}), len(content["labels"]))
    return content


_PARTS = (
    *("channel_names", "labels", "dimensions", "patch", "spacing"),
    *("normalisations", "foreground_only", "slice_axis", "fingerprint"),
)


def _check_names(channels: object, labels: object) -> None:
    _demand(isinstance(channels, list) and bool(channels), "channel_names", channels, "a list of names")
    _demand(isinstance(labels, dict), "labels", labels, "names with their values")
    assert isinstance(channels, list)
    assert isinstance(labels, dict)
    values = list(labels.values())
    usable = all(is_integer(value) and 0 <= value < 2**16 for value in values) and len(set(values)) == len(values)
    _demand(usable, "labels", labels, "names with whole numbers from 0 to 65535, each its own")
    background = 2 <= len(values) < IGNORE and values[0] == 0
    _demand(background, "labels", labels, "background with the value 0 first, and 1 to 253 classes more")
    try:
        for kind, names in (("channel", channels), ("class", list(labels))):
            for name in names:
                check_name("names", kind, name)
    except InputError as error:
        raise DamagedError(f"cannot be used: {error.problem}") from error


def _check_regions(regions: object, classes: int) -> None:
    usable = isinstance(regions, dict) and all(
        isinstance(parts, list) and parts and all(is_integer(part) and 0 < part < classes for part in parts)
        for parts in regions.values()
    )
    _demand(usable, "regions", regions, f"names with numbers of classes from 1 to {classes - 1}")
    assert isinstance(regions, dict)
    try:
        for name in regions:
            check_name("regions", "region", name)
    except InputError as error:
        raise DamagedError(f"cannot be used: {error.problem}") from error


def _is_rule(rule: object) -> bool:
    """Low, high, mean and standard deviation; each may be unknown."""
    if not isinstance(rule, list) or len(rule) != 4 or not all(each is None or is_number(each) for each in rule):
        return False
    low, high, _, sd = rule
    return (low is None or high is None or low <= high) and (sd is None or sd >= 0)


def _demand(usable: bool, part: str, value: object, wanted: str) -> None:
    if not usable:
        shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}..."
        raise DamagedError(f"must have as {part} {wanted}, got {shown}")
