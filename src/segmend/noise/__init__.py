"""Synthetic label noise: recipes that corrupt labels in the way annotators and models do.

A recipe is registered by importing its class here.
"""

from segmend.noise._base import Decision, Decisions, Recipe
from segmend.noise.corruption import NoisyLabel, calibrate, corrupt_label
from segmend.noise.markov import MarkovBoundary
from segmend.noise.missing import MissingLabel
from segmend.noise.mixed import MixedNoise, recipes_of
from segmend.noise.polygon import PolygonSimplification
from segmend.noise.rotation import InPlaneRotation, RotatedMorphology
from segmend.noise.slices import SliceNoise
from segmend.noise.surface import CubeMorphology, RadiusMorphology
from segmend.noise.swap import ClassSwap

__all__ = [
    "ClassSwap",
    "CubeMorphology",
    "Decision",
    "Decisions",
    "InPlaneRotation",
    "MarkovBoundary",
    "MissingLabel",
    "MixedNoise",
    "NoisyLabel",
    "PolygonSimplification",
    "RadiusMorphology",
    "Recipe",
    "RotatedMorphology",
    "SliceNoise",
    "all_recipes",
    "calibrate",
    "corrupt_label",
    "recipes_of",
]


def all_recipes() -> dict[str, type[Recipe]]:
    """Every recipe by its name, in alphabetical order."""
    chosen = {name: globals()[name] for name in sorted(__all__) if name[0].isupper()}
    return {
        name: cls
        for name, cls in chosen.items()
        if isinstance(cls, type) and issubclass(cls, Recipe) and cls is not Recipe
    }
