"""Shift of the surfaces of a label by measured offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.core.masks import IGNORE, bounding_box
from segmend.functional.offsets.surfaces import SurfaceKind, shift_surfaces


def undone(label: NDArray[np.uint8], offsets: Mapping[int, float], spacing: Sequence[float]) -> NDArray[np.uint8]:
    """Move the surfaces of some classes of a label; the others stay, except where moved ones meet them.

    Args:
        label: ``[*spatial]`` class indices; ``IGNORE`` stays.
        offsets: in mm by class, outward positive.
        spacing: mm from voxel to voxel along each axis.
    """
    drawn = (label > 0) & (label != IGNORE)
    if not drawn.any() or not offsets:
        return label.copy()
    margin = 2 + int(np.ceil(max(map(abs, offsets.values())) / min(spacing)))
    box = bounding_box(drawn, margin)
    new = label.copy()
    by_kind: dict[SurfaceKind, float] = {(cls, None): offset for cls, offset in offsets.items()}
    new[box] = shift_surfaces(torch.tensor(label[box]), by_kind, spacing).numpy()
    return new
