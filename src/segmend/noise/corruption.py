"""Corruption of one label by one recipe, and the strength of a recipe that gives a wanted Dice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segmend.core.errors import InputError
from segmend.metrics.overlap import dice
from segmend.noise._base import Decisions, Label, Recipe

WEAKEST = 1 / 64
"""Strength below which an object that still vanishes is left unchanged."""


STRONGEST = 16.0
"""Largest strength that is tried."""


_ROUNDS = 16
"""Halvings of the range after which no finer steps of the noise are expected."""


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


def calibrate(mean_dice: Callable[[float], float], wanted: float, tolerance: float = 0.005) -> float:
    """Find the strength of a recipe that gives a wanted mean Dice of noisy to true labels, by bisection.

    Args:
        mean_dice: mean Dice at a strength; of the same draws each time, so that it falls smoothly.
        wanted: mean Dice to reach, 0..1.
        tolerance: largest allowed difference of the mean from it.

    Raises:
        InputError: even the strongest noise leaves a higher Dice, or the noise jumps past the wanted one.
    """
    tried = {0.0: 1.0, 1.0: mean_dice(1.0)}
    low, high = 0.0, 1.0
    while tried[high] > wanted and high < STRONGEST:
        low, high = high, 2 * high
        tried[high] = mean_dice(high)
    lowest = min(tried.values())
    if lowest > wanted + tolerance:
        raise _out_of_reach(
            wanted, f"this recipe gives {lowest:.3f} to 1", "ask for a Dice in that range, or change the recipe"
        )
    for _ in range(_ROUNDS):
        nearest = min(tried, key=lambda strength: abs(tried[strength] - wanted))
        if abs(tried[nearest] - wanted) <= tolerance:
            return nearest
        middle = (low + high) / 2
        tried[middle] = mean_dice(middle)
        low, high = (middle, high) if tried[middle] > wanted else (low, middle)
    raise _out_of_reach(
        wanted,
        f"the nearest that this recipe gives is {tried[nearest]:.3f}",
        "ask for that, take a recipe with finer steps (RadiusMorphology), or corrupt more cases",
    )


def _emptied(noisy: Label, decisions: Decisions) -> frozenset[int]:
    return frozenset(index for index in decisions if not (noisy == index).any())


def _out_of_reach(wanted: float, problem: str, remedy: str) -> InputError:
    return InputError("dice", f"a mean Dice of {wanted} cannot be reached: {problem}", remedy, code="invalid-value")
