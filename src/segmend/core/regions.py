"""Objects: classes, or regions of several classes that may overlap, such as a tumour with the core inside it.

Where some objects are not annotated in a case, the class of a voxel may be unknown in part: background of a label of
the liver alone is background or any other organ. Such a voxel has a set of possible classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import IGNORE, Mask

Regions = Mapping[str, tuple[int, ...]]
"""Name of each region to the indices of its classes; empty where each class is an object of its own."""


def objects_of(classes: Iterable[str], regions: Regions) -> dict[str, tuple[int, ...]]:
    """What is segmented and measured: the regions, or without any each class but the background.

    Args:
        classes: names, background first.
        regions: of these classes.

    Returns:
        Name of each object to the indices of its classes.
    """
    return dict(regions) or {name: (index,) for index, name in enumerate(classes) if index}


def annotated_objects(
    objects: Mapping[str, tuple[int, ...]], annotated: Collection[str] | None
) -> dict[str, tuple[int, ...]]:
    """The objects that were annotated in a case; None stands for all."""
    return {name: classes for name, classes in objects.items() if annotated is None or name in annotated}


def mask_of(label: NDArray[np.integer[Any]], classes: tuple[int, ...]) -> Mask:
    """Where a label is one of several classes, ``[*spatial]``."""
    mask: Mask = label == classes[0]
    for other in classes[1:]:
        mask |= label == other
    return mask


FIRST_SET = 256
"""Label values of batches from here on stand for sets of possible classes: this one for the first set."""


@dataclass(frozen=True)
class ClassSets:
    """Sets of possible classes, in the cases of a training that are annotated in part.

    Attributes:
        members: class indices of each set that occurs.
        tables: by what is annotated in a case, ``[256]`` the set, class or ``IGNORE`` that each class index stands for.
    """

    members: tuple[tuple[int, ...], ...] = ()
    tables: Mapping[tuple[str, ...], NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, annotated: Iterable[tuple[str, ...] | None], objects: Mapping[str, tuple[int, ...]], classes: int
    ) -> ClassSets:
        """The sets of some cases.

        Args:
            annotated: for each case the objects that are annotated; None for all.
            objects: all, with the indices of their classes.
            classes: number of classes, background included.
        """
        members: list[tuple[int, ...]] = []
        tables: dict[tuple[str, ...], NDArray[np.int64]] = {}
        for names in annotated:
            if names is None or names in tables:
                continue
            table = np.full(256, IGNORE, np.int64)
            for index, possible in enumerate(possible_classes(names, objects, classes)):
                if len(possible) > 1 and possible not in members:
                    members.append(possible)
                table[index] = index if len(possible) == 1 else FIRST_SET + members.index(possible)
            tables[names] = table
        return cls(tuple(members), tables)

    def encode(self, label: NDArray[np.integer[Any]], annotated: tuple[str, ...] | None) -> NDArray[np.integer[Any]]:
        """A label with sets in the place of classes that are known in part."""
        return label if annotated is None else self.tables[annotated][label]


def possible_classes(
    annotated: Collection[str], objects: Mapping[str, tuple[int, ...]], classes: int
) -> list[tuple[int, ...]]:
    """The classes that a voxel may have, by the class that its label says.

    Args:
        annotated: the objects that are annotated.
        objects: all, with the indices of their classes.
        classes: number of classes, background included.

    Returns:
        For each class the indices of those that belong to the same annotated objects, itself among them.
    """
    known = [frozenset(name for name in annotated if index in objects[name]) for index in range(classes)]
    return [tuple(other for other in range(classes) if known[other] == known[index]) for index in range(classes)]


def completed(
    label: NDArray[np.uint8], probabilities: Iterable[NDArray[np.float32]], possible: Sequence[Sequence[int]]
) -> NDArray[np.uint8]:
    """A label with the most probable class where it leaves several open.

    Args:
        label: ``[*spatial]`` class indices, or ``IGNORE``, which stays.
        probabilities: the map ``[*spatial]`` of each class in turn.
        possible: by class in the label, the classes that a voxel may have.
    """
    allowed = np.zeros((len(possible), 256), np.bool_)
    for known, others in enumerate(possible):
        allowed[list(others), known] = True
    found, highest = label.copy(), np.full(label.shape, -1, np.float32)
    for index, of_class in enumerate(probabilities):
        better = allowed[index][label] & (of_class > highest)
        found[better] = index
        highest[better] = of_class[better]
    return found


def with_regions(
    label: NDArray[np.uint8], masks: Mapping[str, Mask], regions: Mapping[str, tuple[int, ...]]
) -> NDArray[np.uint8]:
    """A label whose regions are changed.

    Args:
        label: ``[*spatial]`` class indices, or ``IGNORE``, which stays.
        masks: the new extent of some regions, of the same shape; the others stay as they are.
        regions: all, with the indices of their classes.

    Returns:
        Class indices. A voxel whose regions no class stands for keeps its class.
    """
    members = {index: frozenset(name for name in regions if index in regions[name]) for index in range(256)}
    of_regions = {names: index for index, names in reversed(members.items()) if names or index == 0}
    new = label.copy()
    changed = np.zeros(label.shape, np.bool_)
    for name, mask in masks.items():
        changed |= mask != mask_of(label, regions[name])
    known = changed & np.isin(label, [0, *(index for classes in regions.values() for index in classes)])
    places = np.flatnonzero(known)
    before = label.reshape(-1)[places]
    inside = {name: mask.reshape(-1)[places] for name, mask in masks.items()}
    codes = sum(
        (inside[name].astype(np.int64) << bit for bit, name in enumerate(inside)), np.zeros(len(places), np.int64)
    )
    for code in np.unique(codes):
        for index in np.unique(before[codes == code]):
            kept = members[int(index)] - inside.keys()
            wanted = frozenset(kept) | {name for bit, name in enumerate(inside) if code >> bit & 1}
            if wanted in of_regions:
                new.reshape(-1)[places[(codes == code) & (before == index)]] = of_regions[wanted]
    return new
