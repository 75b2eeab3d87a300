"""Boundary offset: the amount of over- or under-segmentation that an audit reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.core.masks import Mask, bounding_box
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.estimate import REACH, OffsetEstimate, estimate_offset

_ALL_ROUND = 0.8
"""Fraction of the sides that must agree: all four in 2D, five of six in 3D."""


@dataclass(frozen=True, slots=True)
class Offset:
    """Position of a given surface relative to the surface that the evidence suggests.

    Attributes:
        mm: positive if it was drawn too wide, negative if too tight.
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
    distance = signed_distance(mask, spacing)
    found = estimate_offset(
        torch.from_numpy(mask),
        torch.from_numpy(distance),
        torch.from_numpy(probability),
        spacing,
        criterion="likelihood",
        reach=float(np.abs(distance).max()) + min(spacing),
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
    box = bounding_box(mask, margin=1 + math.ceil(REACH / min(spacing)))
    distance = torch.from_numpy(signed_distance(mask[box], spacing))
    return estimate_offset(
        torch.from_numpy(mask[box]),
        distance,
        torch.from_numpy(probability[box]),
        spacing,
        criterion="separation",
        reach=REACH,
        counted=torch.from_numpy(annotated[box]),
    )
