r"""How far a given mask is from what the evidence says, in mm.

With issues I (voxels that confident learning doubts), the distance d of a voxel to the given surface, the area A of
that surface and the volume V of a voxel,

    e = \sqrt{(2V/A) \sum_{v \in I, given} d(v)},   m = \sqrt{(2V/A) \sum_{v \in I, not given} d(v)}.

A surface that is t too wide all round has e = t. Depth makes one deep error weigh more than much jitter at a border
that is hard to see, and only voxels count of which the model is sure. The balance b is the same difference, extra minus
missing, over all voxels that model and label see differently, with depths from the predicted surface: jitter cancels
out, a shift of the whole surface adds up. The disagreement is e + m + |b| / 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.functional.distance import signed_distance
from segmend.labels.audit.distance import surface_area
from segmend.masks import Mask


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How far a mask is from the prediction, all in mm.

    Attributes:
        extra: e, what was drawn beyond doubt too much.
        missing: m, what is missing beyond doubt.
        balance: b, positive if more is drawn than predicted.
        usual_distance: median distance of the given surface from the predicted one; NaN if one of them is missing.
    """

    extra: float
    missing: float
    balance: float
    usual_distance: float

    @property
    def total(self) -> float:
        """The disagreement."""
        return self.extra + self.missing + abs(self.balance) / 2


def measure(given: Mask, predicted: Mask, doubted: Mask, spacing: Sequence[float]) -> Disagreement:
    """Compares a given and a predicted mask.

    Args:
        given: ``[*spatial]``.
        predicted: the same shape. At least one of the two holds a voxel.
        doubted: the issues that concern the object.
        spacing: mm from voxel to voxel along each axis.
    """
    distances = distances_to(given, predicted, spacing)
    from_given, from_predicted = (np.abs(distance) for distance in distances)
    area = surface_area(given if given.any() else predicted, spacing)
    volume = math.prod(spacing)

    def depth(of: Mask, distance: NDArray[np.floating[Any]]) -> float:
        return math.sqrt(2 * volume * float(distance[of].sum()) / area)

    surface = given & ~ndimage.binary_erosion(given, border_value=1)
    both = surface.any() and predicted.any()
    return Disagreement(
        extra=depth(doubted & given, from_given),
        missing=depth(doubted & ~given, from_given),
        balance=depth(given & ~predicted, from_predicted) - depth(predicted & ~given, from_predicted),
        usual_distance=float(np.median(from_predicted[surface])) if both else math.nan,
    )


def distances_to(
    given: Mask, predicted: Mask, spacing: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signed distances to the given and to the predicted surface; where one has none, those to the other."""
    to_given = signed_distance(given, spacing) if given.any() else None
    to_predicted = signed_distance(predicted, spacing) if predicted.any() else None
    known = to_given if to_given is not None else to_predicted
    assert known is not None
    return known, to_predicted if to_predicted is not None else known
