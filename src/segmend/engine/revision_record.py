"""What is known of a revision of the labels: the text next to its arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a revision.

    Attributes:
        method: that made it.
        step: the first one that uses it.
        changed: voxels that differ from the revision before, by layer and case; of the revised labels only.
        maps: by name, the cases whose map it holds.
        values: by name and case, one number of the case or one of each of its slices, all finite.
        report: rows for human readers, each with the name of its case.
        sampling_weights: sampling weights by case, of methods that set them; finite, >= 0.
    """

    method: str
    step: int
    changed: dict[str, dict[str, int]]
    maps: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    report: list[dict[str, str | float]] = field(default_factory=list)
    sampling_weights: dict[str, float] = field(default_factory=dict)

    def holds(self, case: str, name: str) -> bool:
        """Whether it has an array of a case, of this layer or map."""
        return case in self.changed.get(name, ()) or case in self.maps.get(name, ())

    @classmethod
    def from_json(cls, content: Any, layers: Sequence[str]) -> Record:
        """The record that was written as JSON.

        Raises:
            ValueError, TypeError: it is not one of these layers.
        """
        record = cls(**content)
        counts = [count for layer in layers for count in _mapping(_mapping(record.changed).get(layer)).values()]
        if type(record.step) is not int or not all(type(count) is int for count in counts):
            raise ValueError("a step or a number of voxels is not a whole number")
        if not all(isinstance(case, str) for cases in _mapping(record.maps).values() for case in _list(cases)):
            raise ValueError("a map lacks the name of its case")
        of_cases = [values for by_case in _mapping(record.values).values() for values in _mapping(by_case).values()]
        if not all(is_finite(value) for values in of_cases for value in _list(values)):
            raise ValueError("a value is not a finite number")
        if not all(is_finite(weight) and weight >= 0 for weight in _mapping(record.sampling_weights).values()):
            raise ValueError("a sampling weight is not a number of 0 or more")
        if not all("case" in _mapping(row) for row in _list(record.report)):
            raise ValueError("a row of the report lacks its case")
        return record


def is_finite(value: Any) -> bool:
    """Whether it is a number, neither infinite nor undefined."""
    return isinstance(value, int | float) and math.isfinite(value)


def _mapping(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError(f"{content!r:.50} stands where names and values should")
    return content


def _list(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError(f"{content!r:.50} stands where a list should")
    return content
