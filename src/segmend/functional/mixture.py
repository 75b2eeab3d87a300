"""Two kinds of samples told apart by their losses."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

LEAST_SAMPLES = 10
"""Fewer losses than this do not show two kinds."""

LEAST_GAP = 0.05
"""Two kinds whose mean losses are nearer than this are one."""


def low_losses(losses: Tensor) -> Tensor:
    """Which losses belong to the lower of two Gaussians, more probably than to the higher one.

    Args:
        losses: ``[N]`` on the CPU, finite, 0..1.

    Returns:
        Boolean ``[N]``: all up to a certain loss.
    """
    return low_loss_chances(losses) > 0.5


def low_loss_chances(losses: Tensor) -> Tensor:
    """How probably each loss belongs to the lower of two Gaussians, fitted by expectation maximisation.

    The losses are scaled to 0..1 first. Losses of exactly 0 are low, and do not take part in the fit:
    wherever they are many (images without the object, say), they would be a component by themselves.

    A mixture of two always finds two, and a wide component also claims what lies beyond a narrow one.
    So all losses are low if there are too few of them, if one Gaussian explains them as well (by the
    Bayesian information criterion), or if the two are too near to each other; and whatever the
    posterior says, losses up to the lower mean are low, and losses from the higher mean on are not.

    Args:
        losses: ``[N]`` on the CPU, finite, 0..1.

    Returns:
        ``[N]`` float32, 0..1.
    """
    chances = torch.ones(len(losses))
    fitted = losses > 0
    values = losses[fitted].double().numpy()
    extent = float(np.ptp(values)) if len(values) >= LEAST_SAMPLES else 0.0
    if extent < LEAST_GAP:
        return chances
    scaled = ((values - values.min()) / extent).reshape(-1, 1)
    one, two = (GaussianMixture(count, reg_covar=1e-4, n_init=3, random_state=0).fit(scaled) for count in (1, 2))
    means = np.sort(two.means_.ravel())
    if one.bic(scaled) <= two.bic(scaled) or (means[1] - means[0]) * extent < LEAST_GAP:
        return chances
    posterior = two.predict_proba(scaled)[:, two.means_.argmin()]
    posterior[scaled[:, 0] >= means[1]] = 0
    posterior[scaled[:, 0] <= means[0]] = 1
    chances[fitted] = torch.from_numpy(posterior).float()
    return chances
