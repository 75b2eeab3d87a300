"""Objects, or parts of them, that are missing from the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from segmend.core.masks import Mask
from segmend.functional.morphology import connected_components
from segmend.noise._base import UNTOUCHED, Decision, ObjectRecipe, check_probabilities, draw_seed

Part = Literal["whole", "ends", "middle", "components"]


class MissingLabel(ObjectRecipe):
    """Removes an object, or a part of it.

    Strength scales the fraction that is removed; for a whole object, the probability that it is removed (not beyond
    ``probability``). Objects may vanish: that is the purpose.

    Args:
        probability: probability that something of an object is missing.
        part: "whole": the object. "ends": slices at both ends of the last axis, as if the annotator had
            started late and stopped early. "middle": a run of slices within. "components": connected
            components, each on its own.
        share: fraction of the slices, or probability of each component, that is missing; not for "whole".
    """

    def __init__(self, *, probability: float = 0.5, part: Part = "whole", share: float = 0.5) -> None:
        super().__init__(keep_objects=False)
        check_probabilities(probability=probability, share=share)
        self.probability, self.part, self.share = probability, part, share

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw whether, and where."""
        if rng.random() >= self.probability:
            return Decision(UNTOUCHED)
        if self.part == "whole":
            return Decision("remove", {"resistance": float(rng.random())})
        if self.part == "components":
            return Decision("remove", {"seed": draw_seed(rng)})
        return Decision("remove", {"place": float(rng.random())})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Remove what was drawn."""
        share = min(decision.strength * self.share, 1.0)
        match self.part:
            case "whole":
                return mask & (decision.parameters["resistance"] >= decision.strength)
            case "components":
                return _without_components(mask, share, int(decision.parameters["seed"]))
            case "ends" | "middle":
                return _without_slices(mask, share, self.part, decision.parameters["place"])


def _without_components(mask: Mask, share: float, seed: int) -> Mask:
    components, sizes = connected_components(mask)
    kept = np.random.default_rng(seed).random(len(sizes)) >= share
    kept[0] = False
    remaining: Mask = kept[components]
    return remaining


def _without_slices(mask: Mask, share: float, part: Literal["ends", "middle"], place: float) -> Mask:
    """Keep one run of slices, or remove one; ``place``, 0..1, is its position."""
    slices = np.flatnonzero(mask.any(axis=tuple(range(mask.ndim - 1))))
    removed = round(share * len(slices))
    length = removed if part == "middle" else len(slices) - removed
    start = round(place * (len(slices) - length))
    run = slices[start : start + length]
    result = np.zeros_like(mask) if part == "ends" else mask.copy()
    result[..., run] = mask[..., run] if part == "ends" else False
    return result
