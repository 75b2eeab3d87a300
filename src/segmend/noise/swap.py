"""Classes mistaken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from segmend.core.errors import InputError
from segmend.core.masks import Mask
from segmend.functional.morphology import connected_components
from segmend.noise._base import (
    UNTOUCHED,
    Decision,
    Decisions,
    Label,
    Recipe,
    check_probabilities,
    draw_seed,
    foreground,
)


class ClassSwap(Recipe):
    """Exchanges two foreground classes with each other.

    The classes of a label are paired at random, so each is mistaken for one other at most; one is left over if their
    number is odd. Within each connected component of the two classes together, or in the whole case, they are exchanged
    or not. A component of one class alone takes the name of the other, and so a class may vanish.

    Strength scales the probability.

    Args:
        probability: probability that a component, or the case, is swapped.
        within: "component": each connected component by itself. "case": all of the two classes at once.
    """

    def __init__(self, *, probability: float = 0.5, within: Literal["component", "case"] = "component") -> None:
        check_probabilities(probability=probability)
        self.probability, self.within = probability, within

    def check(self, classes: int) -> None:
        """Check that there are two foreground classes to swap.

        Raises:
            InputError: there is only one.
        """
        if classes < 3:
            raise InputError(
                "recipe ClassSwap",
                "exchanges two foreground classes, but the data have only one",
                "choose a recipe for one class, such as CubeMorphology",
                code="mismatch",
            )

    def draw(self, label: Label, rng: np.random.Generator) -> Decisions:
        """Draw the pairs, and a seed for each."""
        classes = foreground(label)
        decisions = {index: Decision(UNTOUCHED) for index in classes}
        shuffled = [int(index) for index in rng.permutation(classes)]
        for one, other in zip(shuffled[::2], shuffled[1::2], strict=False):
            seed = draw_seed(rng)
            decisions[one] = Decision("swap", {"with": other, "seed": seed})
            decisions[other] = Decision("swap", {"with": one, "seed": seed})
        return decisions

    def apply(self, label: Label, spacing: Sequence[float], decisions: Decisions) -> Label:
        """Swap the components that were drawn."""
        noisy = label.copy()
        for one, decision in decisions.items():
            other = int(decision.parameters.get("with", 0))
            if one < other:  # each pair once
                swapped = self._swapped((label == one) | (label == other), decision)
                noisy[swapped & (label == one)] = other
                noisy[swapped & (label == other)] = one
        return noisy

    def _swapped(self, pair: Mask, decision: Decision) -> Mask:
        """The components of a pair of classes that are swapped."""
        components = connected_components(pair)[0] if self.within == "component" else pair.astype(np.uint8)
        draws = np.random.default_rng(int(decision.parameters["seed"])).random(int(components.max()) + 1)
        chosen = draws < decision.strength * self.probability
        chosen[0] = False  # the background
        swapped: Mask = chosen[components]
        return swapped
