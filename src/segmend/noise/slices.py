"""Single slices drawn wrongly or left out, between correct ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segmend.core.masks import Mask
from segmend.functional.morphology import shift_surface
from segmend.noise._base import (
    Decision,
    Decisions,
    Label,
    ObjectRecipe,
    check_probabilities,
    check_range,
    draw_seed,
    foreground,
)


class SliceNoise(ObjectRecipe):
    """Leaves the objects of a slice out, or moves their outlines; each slice is drawn independently.

    The noise of deep self-cleansing: ``share`` 0.3, 0.5 or 0.7, ``radius`` 5 or 10, on slices of 256 or 128 pixels a
    side. Its paper does not state how often labels are missing, how radii are distributed, or the shape of the
    structuring element: here a disc, and whole numbers with equal probability. Slices lie along the last axis; a 2D
    image is one. All objects of a slice are corrupted in the same way, and objects smaller than the radius vanish.

    Strength scales the fraction of slices, up to all.

    Args:
        share: probability that a slice is corrupted.
        radius: pixels by which an outline moves, on average.
        jitter: largest deviation of a drawn radius from ``radius``, in either direction.
        missing: probability that the objects of a corrupted slice are left out; else their outlines move.
        dilate_probability: probability that an outline that moves does so outward.
    """

    def __init__(
        self,
        *,
        share: float = 0.5,
        radius: int = 10,
        jitter: int = 3,
        missing: float = 0.5,
        dilate_probability: float = 0.5,
    ) -> None:
        super().__init__(keep_objects=False)
        check_probabilities(share=share, missing=missing, dilate_probability=dilate_probability)
        check_range(0, jitter=jitter, radius=radius)
        self.share, self.radius, self.jitter = share, radius, jitter
        self.missing, self.dilate_probability = missing, dilate_probability

    def draw(self, label: Label, rng: np.random.Generator) -> Decisions:
        """Draw one seed, so that all objects of a slice are corrupted in the same way."""
        return dict.fromkeys(foreground(label), self.draw_object(rng))

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw a seed for the corruption of the slices."""
        return Decision("slices", {"seed": draw_seed(rng)})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Leave out, or move the outline, slice by slice."""
        slices = np.atleast_3d(mask)
        noisy = slices.copy()
        rng = np.random.default_rng(int(decision.parameters["seed"]))
        corrupted, missing, dilated = rng.random((3, slices.shape[2]))
        radii = self.radius + rng.integers(-self.jitter, self.jitter, slices.shape[2], endpoint=True)
        outward = np.where(dilated < self.dilate_probability, radii, -radii)
        for index in np.flatnonzero(corrupted < decision.strength * self.share):
            if missing[index] < self.missing:
                noisy[..., index] = False
            else:
                noisy[..., index] = shift_surface(slices[..., index], float(outward[index]), (1.0, 1.0))
        return noisy.reshape(mask.shape)
