"""Perturbations of images."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_gaussian(image: Tensor, sd: float = 0.1) -> Tensor:
    """The image plus Gaussian noise of standard deviation ``sd``, clipped at twice that (UA-MT, PLIL, ALC)."""
    return image + (sd * torch.randn_like(image)).clamp(-2 * sd, 2 * sd)
