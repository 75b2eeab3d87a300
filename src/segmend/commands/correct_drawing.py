"""segmend correct: the label of a case as it is corrected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.corrections import apply_changes
from segmend.audit.folder import AuditFolder
from segmend.audit.offsets import shift_boundaries
from segmend.audit.whole_objects import ObjectChanges
from segmend.commands.correct_choices import Choice
from segmend.core.errors import InputError
from segmend.core.grid import Grid
from segmend.core.masks import IGNORE, Mask
from segmend.core.regions import mask_of, with_regions
from segmend.data.folder import DataFolder
from segmend.data.image import read_label
from segmend.data.raters import read_drawing


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A corrected label.

    Attributes:
        label: ``[*spatial]`` class indices.
        held: labels whose correction would erase or create whole objects, and that a person has to look at.
    """

    label: NDArray[np.uint8]
    held: Mapping[str, ObjectChanges]


def draw(folder: DataFolder, place: AuditFolder, choice: Choice, given: NDArray[np.uint8], grid: Grid) -> Drawn:
    """Correct the label of a case.

    What people accepted is applied first, then what no person has seen. Where the latter would erase or create a whole
    object of a label, that label is left as people want it.

    Args:
        folder: the data folder.
        place: the audit.
        choice: what is to become of the case.
        given: ``[*spatial]`` class indices.
        grid: of the label.

    Raises:
        InputError: a proposal, a map of issues or a new label cannot be read, or lies on another grid.
    """
    replacement = choice.decisions.replacement
    if replacement and replacement.file:
        return Drawn(read_drawing(replacement.file, folder, grid), {})
    pen = (_RegionPen if folder.regions else _ClassPen)(folder, place, choice, given, grid)
    by_people = pen.label(frozenset(), {}, frozenset())
    held: dict[str, ObjectChanges] = {}
    while True:
        scored = choice.scored - held.keys()
        moved = {name: shift for name, shift in choice.moved.items() if name not in held}
        new = pen.label(scored, moved, frozenset(held)) if scored or moved else by_people
        found = {
            name: ObjectChanges.of(*(mask_of(label, folder.objects[name]) for label in (by_people, new)))
            for name in touched(folder, by_people, new, choice.rows)
            if name not in held
        }
        if not any(found.values()):
            return Drawn(new, held)
        held |= {name: changes for name, changes in found.items() if changes}


def touched(folder: DataFolder, before: NDArray[np.uint8], after: NDArray[np.uint8], names: Iterable[str]) -> list[str]:
    """Those of some classes or regions that gain or lose voxels by a change.

    Args:
        folder: the data folder.
        before: ``[*spatial]`` class indices or ``IGNORE``.
        after: the same shape.
        names: classes or regions to choose from.
    """
    changed = before != after
    indices = {int(index) for label in (before, after) for index in np.unique(label[changed])}
    return [name for name in names if indices & set(folder.objects[name])]


class _Pen(ABC):
    """Draws labels of a case.

    Args:
        folder: the data folder.
        place: the audit.
        choice: what is to become of the case.
        given: ``[*spatial]`` class indices.
        grid: of the label.
    """

    def __init__(
        self, folder: DataFolder, place: AuditFolder, choice: Choice, given: NDArray[np.uint8], grid: Grid
    ) -> None:
        self._folder, self._place, self._choice, self._given, self._grid = folder, place, choice, given, grid

    @abstractmethod
    def label(self, scored: Collection[str], moved: Mapping[str, float], held: Collection[str]) -> NDArray[np.uint8]:
        """The label with what people accepted and some further changes.

        Args:
            scored: labels whose proposal is followed.
            moved: labels whose surface is shifted, in mm.
            held: labels that no further change may touch.
        """


class _ClassPen(_Pen):
    """Classes exclude each other: a voxel that changes concerns the class that it leaves and the one that it joins."""

    def label(self, scored: Collection[str], moved: Mapping[str, float], held: Collection[str]) -> NDArray[np.uint8]:
        index = {name: number for number, name in enumerate(self._folder.labels)}
        choice = self._choice
        kept = [index[name] for name in choice.kept]
        left = [*kept, *(index[name] for name in held)]
        new = self._given
        if choice.accepted:
            new = apply_changes(new, self._proposed, [index[name] for name in choice.accepted], kept)
        new = self._with_decided_regions(new)
        followed = [index[name] for name in scored]
        if followed:
            new = self._with_decided_regions(apply_changes(new, self._proposed, followed, left))
        if moved:
            moves = {index[name]: shift for name, shift in moved.items()}
            spared = [*left, *followed, *(index[name] for name in choice.accepted)]
            shifted = shift_boundaries(new, moves, self._grid.spacing)
            new = self._with_decided_regions(apply_changes(new, shifted, list(moves), spared))
        return new

    @cached_property
    def _proposed(self) -> NDArray[np.uint8]:
        file = self._place.proposal(self._choice.case.name, self._folder.file_ending)
        return read_drawing(file, self._folder, self._grid)

    @cached_property
    def _decided_regions(self) -> tuple[Mask, NDArray[np.uint8]]:
        """Voxels of regions that were decided about by themselves, and the label that they get."""
        where, values = np.zeros(self._given.shape, dtype=bool), self._given.copy()
        issues = read_issues(self._place, self._choice.case.name, self._folder, self._grid)
        index = {name: number for number, name in enumerate(self._folder.labels)}
        for region in self._choice.decisions.regions:
            mask = (issues == region.number) & (self._given != IGNORE)
            where |= mask
            if region.decision.choice == "accept":
                if region.label in self._choice.accepted:
                    values[mask] = self._proposed[mask]
                elif region.suggested in index:
                    values[mask] = index[region.suggested]
        return where, values

    def _with_decided_regions(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if not self._choice.decisions.regions:
            return label
        where, values = self._decided_regions
        return np.where(where, values, label)


class _RegionPen(_Pen):
    """Regions of the data overlap: each changes by itself, and the label is put together from them."""

    def label(self, scored: Collection[str], moved: Mapping[str, float], held: Collection[str]) -> NDArray[np.uint8]:
        choice, masks = self._choice, dict[str, Mask]()
        for name in sorted(choice.accepted | frozenset(scored)):
            # A mask, whatever values the region has in labels.
            file = self._place.of_region(name).proposal(choice.case.name, self._folder.file_ending)
            masks[name] = _read_map(file, self._grid) == 1
        for name, shift in moved.items():
            own = mask_of(self._given, self._folder.regions[name]).astype(np.uint8)
            masks[name] = shift_boundaries(own, {1: shift}, self._grid.spacing) == 1
        for region in choice.decisions.regions:
            given = mask_of(self._given, self._folder.regions[region.label])
            place = self._place.of_region(region.label)
            where = read_issues(place, choice.case.name, self._folder, self._grid) == region.number
            mask = masks.get(region.label, given)
            if region.decision.choice != "accept":
                masks[region.label] = np.where(where, given, mask)
            elif region.label not in choice.accepted:
                masks[region.label] = np.where(where, region.suggested == region.label, mask)
        return with_regions(self._given, masks, self._folder.regions)


def read_issues(place: AuditFolder, case: str, folder: DataFolder, grid: Grid) -> NDArray[np.integer]:
    """The map of issues of a case: 0 nothing, 1 an issue, from 2 on the numbers of its regions.

    Args:
        place: the audit; of a region, in data with regions.
        case: its name.
        folder: the data folder.
        grid: of the label.

    Raises:
        InputError: it cannot be read or lies on another grid.
    """
    return _read_map(place.issues(case, folder.file_ending), grid)


def _read_map(file: Path, grid: Grid) -> NDArray[np.integer]:
    values, own = read_label(file)
    if not own.matches(grid):
        raise InputError(file, "does not lie over its label", "audit the folder again", code="mismatch")
    return values
