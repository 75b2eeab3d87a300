r"""Expected Dice of a mask under probabilities.

With calibrated probabilities p, the expected volume of a class is \sum p voxels, \sum_m p of them within a mask m. So m
has the expected Dice

    D(m) = (2 \sum_m p + s) / (|m| + \sum p + s),

up to terms that vanish for objects of many voxels. With the smoothing term s, a small volume, an empty mask is correct
where almost nothing is expected.

A network's probabilities are not calibrated. A temperature T of each class, against all others, changes their odds to
the power 1 / T (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit


def expected_dice(voxels: float, within: float, total: float, slack: float = 0.0) -> float:
    r"""Compute D(m) of a mask from its sums.

    Args:
        voxels: |m|, of the mask.
        within: \sum_m p, 0..|m|.
        total: \sum p over all voxels, at least ``within``.
        slack: s in voxels, >= 0; above 0 where mask and probabilities may both be empty.

    Returns:
        0..1.
    """
    return (2 * within + slack) / (voxels + total + slack)


def tempered_map(probability: NDArray[np.floating[Any]], temperature: float, least: float = 0.0) -> NDArray[np.float32]:
    """The probability of one class against all others at a temperature: its odds to the power 1 / T.

    Args:
        probability: any shape, 0..1.
        temperature: T, above 0; above 1 the probabilities become less certain, 1 leaves them as they are.
        least: probabilities up to this become 0, so that a large background in which they are not resolved adds
            nothing to their sum.

    Returns:
        The same shape, 0..1.
    """
    with np.errstate(divide="ignore"):
        tempered = expit(logit(probability.astype(np.float32)) / np.float32(temperature))
    result: NDArray[np.float32] = np.where(probability <= least, np.float32(0), tempered)
    return result
