"""Boundaries that drift step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from segmend.core.errors import InputError
from segmend.core.masks import Mask, bounding_box
from segmend.noise._base import Decision, ObjectRecipe, check_probabilities, draw_seed


class MarkovBoundary(ObjectRecipe):
    """Moves the boundary of an object by random drift, with a bias outward or inward.

    In each step a coin chooses the voxels just outside or just inside the boundary (those with a face
    neighbour on the other side), and each of them changes sides with a small probability. At the end
    single voxels anywhere may be flipped, and the mask is smoothed (Yao et al., "Learning to Segment
    from Noisy Annotations: A Spatial Correction Approach", ICLR 2023; its settings in 3D: 80 steps,
    outward 0.7 or 0.3, flip 0.05).

    Strength scales the number of steps and the probability of the scattered flips; below 1 also the
    width of the smoothing.

    Args:
        steps: number of steps.
        outward_probability: probability that a step looks outward; above 0.5 the object grows.
        flip_probability: probability that a voxel of the boundary changes sides.
        scatter_probability: probability that any voxel of the array is flipped before smoothing.
        blur: standard deviation of the smoothing in voxels; 0 for none.
        keep_objects: corrupt an object less if it would vanish.
    """

    def __init__(
        self,
        *,
        steps: int = 80,
        outward_probability: float = 0.7,
        flip_probability: float = 0.05,
        scatter_probability: float = 0.0,
        blur: float = 1.0,
        keep_objects: bool = True,
    ) -> None:
        super().__init__(keep_objects=keep_objects)
        if steps < 0:
            raise InputError("steps", f"is {steps}", "give 0 or more", code="invalid-value")
        if blur < 0:
            raise InputError("blur", f"is {blur} voxels", "give 0 or more", code="invalid-value")
        check_probabilities(
            outward_probability=outward_probability,
            flip_probability=flip_probability,
            scatter_probability=scatter_probability,
        )
        self.steps, self.blur = steps, blur
        self.outward_probability = outward_probability
        self.flip_probability = flip_probability
        self.scatter_probability = scatter_probability

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw a seed for the random walk."""
        return Decision("drift", {"seed": draw_seed(rng)})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Run the random walk; a weaker walk is the beginning of the stronger one from the same seed."""
        rng = np.random.default_rng(int(decision.parameters["seed"]))
        drifted = mask.copy()
        for _ in range(round(decision.strength * self.steps)):
            if not drifted.any():
                break
            self._step(drifted[bounding_box(drifted, margin=1)], rng)
        if self.scatter_probability:
            drifted ^= rng.random(mask.shape, dtype=np.float32) < decision.strength * self.scatter_probability
        return _smooth(drifted, self.blur * min(decision.strength, 1.0))

    def _step(self, inside: Mask, rng: np.random.Generator) -> None:
        """Change the mask in place."""
        outward = bool(rng.random() < self.outward_probability)
        boundary = ~inside & _beside(inside) if outward else inside & _beside(~inside)
        flipped = rng.random(np.count_nonzero(boundary)) < self.flip_probability
        inside[boundary] = flipped == outward


def _beside(mask: Mask) -> Mask:
    """Voxels with a face neighbour in the mask."""
    found = np.zeros_like(mask)
    for axis in range(mask.ndim):
        at, of = np.moveaxis(found, axis, 0), np.moveaxis(mask, axis, 0)
        at[1:] |= of[:-1]
        at[:-1] |= of[1:]
    return found


def _smooth(mask: Mask, sigma: float) -> Mask:
    if not sigma or not mask.any():
        return mask
    smooth = np.zeros_like(mask)
    box = bounding_box(mask, margin=1 + round(4 * sigma))
    smooth[box] = ndimage.gaussian_filter(mask[box].astype(np.float32), sigma, mode="nearest") > 0.5
    return smooth
