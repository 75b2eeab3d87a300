"""Warps drawn at random, from torch's global generator."""

from __future__ import annotations

import torch

from segmend.functional.geometry.warps import Compose, Flip, Rotation, Warp


def random_turn(count: int, dimensions: int, degrees: float) -> Warp:
    """Draw a warp that rotates each sample in the plane of its first two axes, then mirrors it along the first or not.

    Args:
        count: samples of the batch.
        dimensions: number of spatial axes.
        degrees: the largest angle; all angles up to it, in both directions, are equally likely.
    """
    angles = torch.empty(count).uniform_(-degrees, degrees)
    mirrored = torch.zeros(count, dimensions, dtype=torch.bool)
    mirrored[:, 0] = torch.rand(count) < 0.5
    return Compose((Rotation(angles, dimensions), Flip(mirrored)))
