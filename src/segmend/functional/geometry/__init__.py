"""Warps of batches of images and labels, each sample by its own amount, with their inverse."""

from segmend.functional.geometry.chance import random_turn
from segmend.functional.geometry.sampling import Mode
from segmend.functional.geometry.warps import Compose, Flip, QuarterTurn, Rotation, Warp, Zoom

__all__ = ["Compose", "Flip", "Mode", "QuarterTurn", "Rotation", "Warp", "Zoom", "random_turn"]
