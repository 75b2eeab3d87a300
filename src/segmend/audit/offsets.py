"""Boundary offsets: how much a label is over- or under-segmented, and the shift of its boundaries that corrects it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.functional.offsets.estimate import REACH, OffsetEstimate, estimate_offset
from segmend.functional.offsets.surfaces import Surface, SurfaceKind, distance_to, shift_surfaces

_ALL_ROUND = 0.8
"""Fraction of the sides that must agree: all four in 2D, five of six in 3D."""


@dataclass(frozen=True, slots=True)
class Offset:
    """Position of a given surface relative to the surface that the evidence suggests.

    Attributes:
        mm: positive if the object is over-segmented, negative if it is under-segmented.
        standard_error: of ``mm``.
        gain: log-likelihood that moving the surface would gain, 0 or more.
        all_round: whether it is off the same way, by half of ``mm`` or more, on nearly all sides.
    """

    mm: float
    standard_error: float
    gain: float
    all_round: bool

    @property
    def clear(self) -> bool:
        """Whether the whole surface is off: by more than three standard errors, all round."""
        return self.all_round and abs(self.mm) > 3 * self.standard_error


def boundary_offset(mask: Mask, probability: NDArray[np.floating[Any]], spacing: Sequence[float]) -> Offset:
    """Estimate the offset of a surface: see ``estimate_offset``, by the likelihood.

    Args:
        mask: ``[*spatial]`` the object as it was drawn; neither empty nor full.
        probability: ``[*spatial]`` of the object, strictly within 0..1; calibrated, so that including a shell pays off
            from even odds on.
        spacing: mm from voxel to voxel along each axis.
    """
    surface = _surface_of(mask, np.ones_like(mask), spacing)
    found = estimate_offset(
        surface,
        torch.from_numpy(probability),
        spacing,
        criterion="likelihood",
        reach=float(surface.distance.abs().max()) + min(spacing),
    )
    agreeing = np.multiply(found.by_side, np.sign(found.offset)) >= abs(found.offset) / 2
    all_round = bool(found.offset) and bool(agreeing.mean() >= _ALL_ROUND)
    return Offset(-found.offset, found.error, found.gain, all_round)


def low_confidence_offset(
    mask: Mask, probability: NDArray[np.floating[Any]], annotated: Mask, spacing: Sequence[float]
) -> OffsetEstimate:
    """Estimate the offset of a surface from low-confidence evidence, as OffsetCorrection measures it.

    Args:
        mask: ``[*spatial]`` the object as it was drawn, not empty.
        probability: ``[*spatial]`` of the object, 0..1, as the model gives it: where labels contradict each other,
            calibration makes everything equally likely, and no surface can be detected.
        annotated: ``[*spatial]`` where there is a label.
        spacing: mm from voxel to voxel along each axis.
    """
    box = bounding_box(mask, offset_margin(spacing))
    surface = _surface_of(mask[box], annotated[box], spacing)
    return estimate_offset(surface, torch.from_numpy(probability[box]), spacing)


def offset_margin(spacing: Sequence[float]) -> int:
    """Voxels around an object that ``low_confidence_offset`` looks at.

    Args:
        spacing: mm from voxel to voxel along each axis.
    """
    return 1 + math.ceil(REACH / min(spacing))


def shift_boundaries(
    label: NDArray[np.uint8], offsets: Mapping[int, float], spacing: Sequence[float]
) -> NDArray[np.uint8]:
    """Shift the boundaries of some classes of a label; the others stay, except where shifted ones meet them.

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


def _surface_of(mask: Mask, annotated: Mask, spacing: Sequence[float]) -> Surface:
    """The surface of a single object."""
    drawn = torch.from_numpy(mask)
    return Surface((1, None), drawn, distance_to(drawn, spacing), torch.from_numpy(annotated))
