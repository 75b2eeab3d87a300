"""Proposed label: as given where the evidence agrees with it, corrected where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmend.audit.examination import Examination, Part
from segmend.audit.expected_dice import Expectation
from segmend.audit.offsets import Offset
from segmend.audit.regions import Region
from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance

_NEARLY_AS_LIKELY = 0.6
"""Fraction of the likelihood gain of redrawing a boundary that a shift, which keeps detail, must reach."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A label that fits the evidence better.

    Attributes:
        label: ``[*spatial]`` class indices, ``IGNORE`` where the given label has it.
        shifted: classes whose whole boundary is shifted.
        changed: number of voxels added to or removed from each class with such voxels.
        expected: sums for the Dice that the model then expects of each of these classes.
    """

    label: NDArray[np.uint8]
    shifted: frozenset[int]
    changed: Mapping[int, int]
    expected: Mapping[int, Expectation]


def keep_label(examination: Examination) -> Proposal:
    """The given label, for evidence that cannot be relied on."""
    return Proposal(examination.label, frozenset(), {}, {})


def propose(
    examination: Examination,
    regions: Sequence[Region],
    offsets: Mapping[int, Offset],
    tolerances: Mapping[int, float],
    spacing: Sequence[float],
) -> Proposal:
    """Correct a label.

    In each region the voxels get the suggested class. Where a boundary is off all round, beyond the tolerance,
    it is shifted along its own distance map instead, if that gains nearly as much likelihood as redrawing it.

    Args:
        examination: a label with its evidence.
        regions: regions of the label.
        offsets: offsets of the classes that the label holds.
        tolerances: tolerances of all classes in mm.
        spacing: mm from voxel to voxel along each axis.
    """
    label = examination.label.copy()
    of_boundary = {
        index: [region for region in regions if region.label == index and region.kind.of_boundary] for index in offsets
    }
    shifted = {
        index
        for index, offset in offsets.items()
        if offset.clear
        and abs(offset.mm) > tolerances[index]
        and offset.gain >= _NEARLY_AS_LIKELY * _gain(examination, of_boundary[index])
    }
    for region in regions:
        if region.label not in shifted or not region.kind.of_boundary:
            label[region.box][region.mask] = region.suggested
    if shifted:
        for part in examination.parts():
            if part.index in shifted:
                _shift_back(label, examination, part, offsets[part.index].mm, spacing)
    changed, expected = {}, {}
    if (label != examination.label).any():
        for part in examination.parts():
            mask = label[part.box] == part.index
            differing = int(np.count_nonzero(mask != part.given))
            if differing:
                changed[part.index], expected[part.index] = differing, part.expectation(mask)
    return Proposal(label, frozenset(shifted), changed, expected)


def _gain(examination: Examination, regions: Sequence[Region]) -> float:
    """Log-likelihood gained by giving the voxels of some regions their suggested classes."""
    likelihood: dict[tuple[int, int], float] = {}
    for index in {side for region in regions for side in (region.suggested, region.given)}:
        places = [place for place, region in enumerate(regions) if index in (region.suggested, region.given)]
        maps = examination.probabilities(index, [regions[place].box for place in places])
        for place, probability in zip(places, maps, strict=True):
            likelihood[place, index] = float(np.log(probability[regions[place].mask]).sum())
    return sum(
        likelihood[place, region.suggested] - likelihood[place, region.given] for place, region in enumerate(regions)
    )


def _shift_back(
    label: NDArray[np.uint8], examination: Examination, part: Part, offset: float, spacing: Sequence[float]
) -> None:
    """Shift the boundary of a class back by its offset."""
    wanted = signed_distance(part.given, spacing) <= -offset
    inside = label[part.box]
    predicted = examination.predicted[part.box]
    free = (inside == 0) | ((predicted == part.index) & (inside != IGNORE))
    gained = wanted & ~part.given & free
    lost = part.given & ~wanted & (inside == part.index)
    inside[gained] = part.index
    inside[lost] = np.where(predicted[lost] == part.index, 0, predicted[lost])
