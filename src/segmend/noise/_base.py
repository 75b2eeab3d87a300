"""Base of every recipe for label noise: it first draws its decisions, and then applies them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segmend.core.config import Configured
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE, Mask

Label = NDArray[np.uint8]
"""Class indices ``[*spatial]``, 0 = background, ``IGNORE`` where nothing is known."""

UNTOUCHED = "none"
"""The operation that leaves an object as it is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The corruption of one class of one label: sufficient to reproduce every voxel.

    Attributes:
        operation: what is done, in a word; ``UNTOUCHED`` for nothing.
        parameters: the numbers that were drawn.
        strength: 0 leaves the object unchanged, 1 applies what was drawn; each recipe documents what it scales.
    """

    operation: str
    parameters: dict[str, float] = field(default_factory=dict)
    strength: float = 1.0


Decisions = dict[int, Decision]
"""One decision for each foreground class that a label holds, by class index."""


class Recipe(Configured, ABC):
    """A kind of label noise.

    All randomness is in ``draw``; ``apply`` is a function of its arguments. The constructor is the whole configuration,
    keyword-only.

    Attributes:
        keep_objects: whether an object that would vanish is corrupted less, so that it does not.
    """

    keep_objects: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.arguments.items())})"

    def check(self, classes: int) -> None:
        """Check that the recipe suits labels of this many classes, background included.

        Raises:
            InputError: it does not.
        """

    @abstractmethod
    def draw(self, label: Label, rng: np.random.Generator) -> Decisions:
        """Draw the corruption of each class of a label, at strength 1."""

    @abstractmethod
    def apply(self, label: Label, spacing: Sequence[float], decisions: Decisions) -> Label:
        """Apply the decisions.

        Args:
            label: ``[*spatial]`` class indices; not changed. ``IGNORE`` voxels stay as they are.
            spacing: mm from voxel to voxel along each axis.
            decisions: as drawn for this label, at any strength.

        Returns:
            The noisy label, of the same shape and without any new class.
        """


class ObjectRecipe(Recipe):
    """A recipe that treats each class of a label separately.

    Every class is corrupted as it lies in the given label. Where two claim a voxel, the later class gets it: data sets
    list what is enclosed after what encloses it (ventricle after myocardium), so that a growing wall does not fill its
    cavity. Voxels that no class claims any more become background.
    """

    def __init__(self, *, keep_objects: bool = True) -> None:
        self.keep_objects = keep_objects

    def draw(self, label: Label, rng: np.random.Generator) -> Decisions:
        """Draw decisions for one class after the other."""
        return {index: self.draw_object(rng) for index in foreground(label)}

    def apply(self, label: Label, spacing: Sequence[float], decisions: Decisions) -> Label:
        """Corrupt the classes one by one, and combine them again."""
        known = label != IGNORE
        noisy = np.where(known, np.uint8(0), label)
        for index, decision in sorted(decisions.items()):
            mask = label == index
            if decision.operation != UNTOUCHED and decision.strength > 0:
                mask = self.apply_object(mask, spacing, decision) & known
            noisy[mask] = index
        return noisy

    @abstractmethod
    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw the corruption of one object."""

    @abstractmethod
    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Apply the decision to an object, ``[*spatial]`` and not empty; strength is above 0."""


def foreground(label: Label) -> list[int]:
    """Indices of the foreground classes that a label holds."""
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=IGNORE + 1))
    return [int(index) for index in present if index not in (0, IGNORE)]


def draw_seed(rng: np.random.Generator) -> int:
    """A seed among the parameters of a decision that needs more random numbers than a few."""
    return int(rng.integers(2**32))


def check_probabilities(**values: float) -> None:
    """Check that arguments are probabilities.

    Raises:
        InputError: one is outside of 0..1.
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise InputError(
                name, f"is {value}, which is no probability", "give a number from 0 to 1", code="invalid-value"
            )


def check_range(lowest: float, **values: float) -> None:
    """Check that two arguments, smaller first, form a range that starts at ``lowest`` or above.

    Raises:
        InputError: they do not.
    """
    (first, low), (last, high) = values.items()
    if not lowest <= low <= high:
        raise InputError(
            f"{first}, {last}", f"are {low} and {high}", f"give {lowest} <= {first} <= {last}", code="invalid-value"
        )
