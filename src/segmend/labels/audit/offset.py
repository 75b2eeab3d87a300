r"""By how much a boundary was drawn too wide or too tight.

Let s be the signed distance to the surface of the given mask and p the calibrated probability of its class. Had the
surface been drawn t further out, the mask would be \{s \le t\}, with the log-likelihood

    L(t) = \sum_{s(v) \le t} \log\frac{p(v)}{1 - p(v)} + const.

Its maximum is where the mean log-odds along the surface normal pass from positive to negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.masks import Mask

_ALL_ROUND = 7 / 8
"""Share of the sectors that must agree."""


@dataclass(frozen=True, slots=True)
class Offset:
    """How a given surface lies relative to where the evidence puts it.

    Attributes:
        mm: positive if it was drawn too wide, negative if too tight.
        standard_error: of ``mm``, from the spread over sectors around the object's centre and the size of a voxel;
            infinite with one sector.
        gain: log-likelihood that moving the surface would win, 0 or more.
        all_round: whether it is off the same way, by half of ``mm`` or more, in nearly all sectors.
    """

    mm: float
    standard_error: float
    gain: float
    all_round: bool

    @property
    def clear(self) -> bool:
        """Whether the whole surface is off: by more than three standard errors, all round."""
        return self.all_round and abs(self.mm) > 3 * self.standard_error


def boundary_offset(distance: NDArray[np.floating[Any]], probability: NDArray[np.floating[Any]], step: float) -> Offset:
    """Estimates by how much a surface is off.

    Args:
        distance: ``[*spatial]`` signed distance to the given surface in mm, negative inside.
        probability: ``[*spatial]`` of the object, strictly within 0..1.
        step: width in mm of the shells that voxels are counted in; about a voxel.
    """
    log_odds = np.log(probability) - np.log1p(-probability)
    shells = np.floor(distance / step).astype(np.int64)
    first = int(shells.min())
    moved, gain = _best_move(shells - first, log_odds, first, step)
    inside = distance < 0
    sectors = _sectors(inside)
    moves = np.array(
        [
            _best_move(shells[sector] - first, log_odds[sector], first, step)[0]
            for sector in (sectors == number for number in range(2**distance.ndim))
            if (sector & inside).any()
        ]
    )
    rounding = step / math.sqrt(12)
    error = math.hypot(moves.std(ddof=1), rounding) / math.sqrt(len(moves)) if len(moves) > 1 else math.inf
    agreeing = moves * np.sign(moved) >= abs(moved) / 2
    return Offset(-moved, error, gain, bool(moved) and bool(agreeing.mean() >= _ALL_ROUND))


def _best_move(
    shells: NDArray[np.int64], log_odds: NDArray[np.floating[Any]], first: int, step: float
) -> tuple[float, float]:
    """How far out the surface should go, and what that wins."""
    sums = np.bincount(shells.ravel(), log_odds.ravel())
    sizes = np.bincount(shells.ravel())
    likelihood = np.concatenate([[0.0], np.cumsum(sums)])  # of a surface below the first shell, the second ...
    best = int(likelihood.argmax())
    given = min(max(-first, 0), len(sums))
    gain = float(likelihood[best] - likelihood[given])
    means = sums / np.maximum(sizes, 1)
    within = 0 < best < len(means) and means[best - 1] > 0 > means[best]
    # Between the centres of the last good and the first bad shell the mean log-odds are taken to run straight.
    share = means[best - 1] / (means[best - 1] - means[best]) - 0.5 if within else 0.0
    return float((first + best + share) * step), gain


def _sectors(inside: Mask) -> NDArray[np.uint8]:
    """Quadrant (octant) of each voxel around the centre of a mask."""
    sectors = np.zeros(inside.shape, np.uint8)
    for axis, places in enumerate(np.nonzero(inside)):
        beyond = np.arange(inside.shape[axis]) > places.mean()
        sectors |= (beyond.astype(np.uint8) << axis).reshape([-1 if a == axis else 1 for a in range(inside.ndim)])
    return sectors
