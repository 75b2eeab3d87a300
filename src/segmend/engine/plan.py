"""A plan of a training: what was chosen, and the reason for each choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segmend.engine.batches import ForegroundBy

_ORDER = (
    *("machine", "network", "patch", "spacing", "batch", "loss", "optimiser", "steps", "time", "memory", "validation"),
    *("intensities", "mirroring", "augmentation", "foreground", "normalisation", "schedule", "clipping"),
)
"""In which entries are shown: first what most decides about result and cost."""


@dataclass(frozen=True)
class Choice:
    """One entry of a plan.

    Attributes:
        value: what was chosen, as YAML and JSON can hold it.
        reason: why, in words, with the numbers that it follows from.
    """

    value: Any
    reason: str


@dataclass(frozen=True)
class TrainingPlan:
    """All that was chosen for a training, each entry with its reason.

    Attributes:
        entries: by name, as in ``_ORDER``; plans of earlier versions have fewer.
    """

    entries: Mapping[str, Choice]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingPlan:
        """The reverse of ``to_json``."""
        return cls({name: Choice(entry["value"], entry["reason"]) for name, entry in content.items()})

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {name: {"value": entry.value, "reason": entry.reason} for name, entry in self.entries.items()}

    def lines(self) -> list[str]:
        """One line for each entry, for human readers."""
        width = max(map(len, self.entries))
        names = [name for name in _ORDER if name in self.entries]
        names += [name for name in self.entries if name not in _ORDER]
        shown = [(name, self.entries[name]) for name in names]
        return [f"{name:<{width}}  {_shown(entry.value)} ({entry.reason})" for name, entry in shown]

    def extended(self, entries: Mapping[str, Choice]) -> TrainingPlan:
        """The same with more entries."""
        return TrainingPlan({**self.entries, **entries})

    @property
    def spacing(self) -> tuple[float | None, ...]:
        """Millimetres between voxels along each prepared axis; None keeps the scan's own."""
        return tuple(self.entries["spacing"].value)

    @property
    def patch(self) -> tuple[int, ...]:
        """Sides of the crops in voxels."""
        return tuple(self.entries["patch"].value)

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of ``PlannedUNet``."""
        return dict(self.entries["network"].value)

    @property
    def mirroring(self) -> tuple[int, ...]:
        """Prepared axes along which samples may be mirrored."""
        return tuple(self.entries["mirroring"].value)

    @property
    def augmentation(self) -> dict[str, Any]:
        """Arguments of ``Augmentation``, without those of mirroring; none in plans that were written without."""
        return dict(self.entries["augmentation"].value) if "augmentation" in self.entries else {}

    @property
    def foreground_by(self) -> ForegroundBy:
        """How foreground voxels are drawn."""
        return "class" if "foreground" in self.entries and self.entries["foreground"].value == "class" else "voxel"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_shown(item) if name == "name" else f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        if value and all(isinstance(item, list) and len(set(item)) == 1 for item in value):
            return " ".join(f"{item[0]}" for item in value)
        return " ".join("x".join(map(str, item)) if isinstance(item, list) else _number(item) for item in value)
    return _number(value)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else "own" if value is None else str(value)
