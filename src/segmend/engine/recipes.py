"""Whole sets of training settings that go by one word: ``recipe``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from segmend.core.errors import InputError, did_you_mean
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL
from segmend.networks import Network, VNet

RecipeName = Literal["planned", "paper"]
"""``planned`` chooses from data and machine; ``paper`` is the protocol of the left-atrium literature."""

_PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "network": "VNet",
        "iterations": 8000,
        "foreground": 0.0,
        "optimisation": {
            "optimiser": "sgd",
            "learning_rate": 0.01,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "schedule": "poly",
        },
        "augmentation": {"quarter_turns": True, "flips": True, **LEFT_ATRIUM_PROTOCOL.strengths},
    }
)
"""UA-MT (Yu et al., MICCAI 2019), MTCL, PLIL and ALC on the left atrium: V-Net, SGD, quarter turns and flips, crops
drawn uniformly. Spacing, patch and batch belong to the data and the method and are left to them."""

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType({"planned": MappingProxyType({}), "paper": _PAPER})
"""Arguments of ``train`` that each recipe sets, as a plan of ``bench`` would state them."""


def settings_of(recipe: str) -> dict[str, Any]:
    """Arguments of ``train`` that a recipe sets, as plain data; its network by name.

    Raises:
        InputError: there is no such recipe.
    """
    if recipe not in RECIPES:
        raise InputError("recipe", f"there is no '{recipe}'", did_you_mean(recipe, RECIPES), code="unknown-name")
    return {name: dict(value) if isinstance(value, dict) else value for name, value in RECIPES[recipe].items()}


def with_recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``train`` with those that their recipe sets; arguments that are given win, one by one.

    Args:
        given: as plain data. ``recipe`` may be among them.

    Returns:
        The same without ``recipe``.

    Raises:
        InputError: there is no such recipe.
    """
    arguments = settings_of(given.get("recipe") or "planned")
    for name, value in given.items():
        below = arguments.get(name)
        if name != "recipe":
            arguments[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
    return arguments


def network_by(
    recipe: str | None, network: Callable[[int, int, int], Network] | None
) -> Callable[[int, int, int], Network] | None:
    """The network that is named, or else that of the recipe; None if it is planned."""
    return VNet if network is None and recipe == "paper" else network
