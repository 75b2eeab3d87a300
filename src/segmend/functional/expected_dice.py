r"""Expected Dice of a mask under probabilities.

With calibrated probabilities p, the expected volume of a class is \sum p voxels, \sum_m p of them within a mask m. So m
has the expected Dice

    D(m) = (2 \sum_m p + s) / (|m| + \sum p + s),

up to terms that vanish for objects of many voxels. With the smoothing term s, a small volume, an empty mask is correct
where almost nothing is expected.
"""

from __future__ import annotations


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
