"""Corruption of one label by one recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segmend.metrics.overlap import dice
from segmend.noise._base import Decisions, Label, Recipe

WEAKEST = 1 / 64
"""Strength below which an object that still vanishes is left unchanged."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisyLabel:
    """A corrupted label and its corruption.

    Attributes:
        label: ``[*spatial]`` class indices.
        decisions: what was done to each class, at the strength applied to it.
        dice: Dice coefficient of each class to the true label.
        emptied: classes that vanished.
    """

    label: Label
    decisions: Decisions
    dice: dict[int, float]
    emptied: frozenset[int]


def corrupt_label(
    label: Label, spacing: Sequence[float], recipe: Recipe, rng: np.random.Generator, strength: float = 1.0
) -> NoisyLabel:
    """Corrupt a label.

    If the recipe keeps objects, a class that vanishes is corrupted again at half the strength, and so is
    every class that took its place.

    Args:
        label: ``[*spatial]`` class indices; not changed.
        spacing: mm from voxel to voxel along each axis.
        recipe: the label noise.
        rng: the source of randomness. Equal states give equal noise, which grows with the strength.
        strength: 0 leaves the label unchanged, 1 applies the recipe as it is; more is allowed.
    """
    decisions = {index: replace(drawn, strength=strength) for index, drawn in recipe.draw(label, rng).items()}
    noisy = recipe.apply(label, spacing, decisions)
    while recipe.keep_objects and (vanished := _emptied(noisy, decisions)):
        there_now = np.unique(noisy[np.isin(label, list(vanished))])
        for index in vanished | decisions.keys() & set(there_now.tolist()):
            half = decisions[index].strength / 2
            decisions[index] = replace(decisions[index], strength=half if half >= WEAKEST else 0.0)
        noisy = recipe.apply(label, spacing, decisions)
    scores = {index: dice(noisy == index, label == index) for index in decisions}
    return NoisyLabel(noisy, decisions, scores, _emptied(noisy, decisions))


def _emptied(noisy: Label, decisions: Decisions) -> frozenset[int]:
    return frozenset(index for index in decisions if not (noisy == index).any())
