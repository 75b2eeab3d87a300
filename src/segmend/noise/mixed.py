"""Labels with different kinds of noise."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segmend.core.errors import InputError, did_you_mean
from segmend.noise._base import Decisions, Label, Recipe

_WHICH = "recipe"

SMALL_MEDIUM_MISSING: tuple[Mapping[str, Mapping[str, Any]], ...] = (
    {"RadiusMorphology": {"radius_min": 1.0, "radius_max": 3.0}},
    {"RadiusMorphology": {"radius_min": 3.0, "radius_max": 6.0}},
    {"MissingLabel": {"probability": 1.0, "part": "ends", "share": 0.3}},
)
"""Slightly over- or under-segmented, more so, or the first and last slices missing."""


class MixedNoise(Recipe):
    """Corrupts each label by one of several recipes, chosen at random: annotators of a data set make different errors.

    All classes of a label are corrupted by the same recipe. Strength is that of the recipe.

    Args:
        recipes: a list of recipes by name, each with its own arguments, such as [{CubeMorphology: {side_max: 5}},
            {MissingLabel: {}}]; one that is listed twice is drawn twice as often.
        keep_objects: corrupt an object less if it would vanish, whatever the recipe's own setting.
    """

    def __init__(
        self, *, recipes: Sequence[Mapping[str, Mapping[str, Any]]] = SMALL_MEDIUM_MISSING, keep_objects: bool = True
    ) -> None:
        self.keep_objects = keep_objects
        self.recipes = [_made(each) for each in recipes]
        if not self.recipes:
            raise InputError("recipes", "is empty", "name one recipe or more", code="invalid-value")

    def check(self, classes: int) -> None:
        """Check that all of them suit the labels."""
        for recipe in self.recipes:
            recipe.check(classes)

    def draw(self, label: Label, rng: np.random.Generator) -> Decisions:
        """Draw a recipe, and its decisions."""
        which = int(rng.integers(len(self.recipes)))
        drawn = self.recipes[which].draw(label, rng)
        return {index: replace(each, parameters={**each.parameters, _WHICH: which}) for index, each in drawn.items()}

    def apply(self, label: Label, spacing: Sequence[float], decisions: Decisions) -> Label:
        """Apply the decisions by the recipe that made them."""
        if not decisions:
            return label.copy()
        which = int(next(iter(decisions.values())).parameters[_WHICH])
        return self.recipes[which].apply(label, spacing, decisions)


def recipes_of(recipe: type[Recipe], arguments: Mapping[str, Any]) -> tuple[type[Recipe], ...]:
    """All recipes that one with these arguments consists of, itself included."""
    if not issubclass(recipe, MixedNoise):
        return (recipe,)
    return (recipe, *dict.fromkeys(type(each) for each in recipe(**arguments).recipes))


def _made(described: Mapping[str, Mapping[str, Any]]) -> Recipe:
    from segmend.noise import all_recipes  # which holds this recipe, too

    if len(described) != 1:
        raise InputError(
            "recipes",
            f"{dict(described)} is not one recipe",
            "write {NAME: {ARGUMENT: VALUE}} for each",
            code="invalid-value",
        )
    ((name, arguments),) = described.items()
    known = all_recipes()
    if name not in known:
        raise InputError("recipes", f"there is no recipe '{name}'", did_you_mean(name, known), code="unknown-name")
    taken = inspect.signature(known[name]).parameters
    for argument in arguments or {}:
        if argument not in taken:
            raise InputError(
                "recipes", f"{name} has no argument '{argument}'", did_you_mean(argument, taken), code="unknown-name"
            )
    return known[name](**(arguments or {}))
