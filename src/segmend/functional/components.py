"""Masks without their fragments and pinholes. Voxels are connected through their faces (in 2D, their edges)."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def without_small_regions(mask: Tensor, share: float) -> Tensor:
    """Remove connected regions that are smaller than a fraction of the whole mask; the result may be empty.

    Args:
        mask: boolean ``[*spatial]`` on the CPU.
        share: 0..1.
    """
    regions, _ = ndimage.label(mask.numpy())
    kept = np.bincount(regions.ravel()) / max(int(mask.sum()), 1) >= share
    kept[0] = False
    return torch.from_numpy(kept[regions])


def without_small_holes(mask: Tensor, share: float) -> Tensor:
    """Fill enclosed holes that are smaller than a fraction of the mask.

    Args:
        mask: boolean ``[*spatial]`` on the CPU.
        share: 0..1.
    """
    filled = torch.from_numpy(ndimage.binary_fill_holes(mask.numpy()))
    holes, _ = ndimage.label((filled & ~mask).numpy())
    small = np.bincount(holes.ravel()) / max(int(mask.sum()), 1) < share
    small[0] = False
    return mask | torch.from_numpy(small[holes])
