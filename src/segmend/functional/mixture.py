"""Two groups of samples separated by their losses."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

LEAST_SAMPLES = 10
"""Fewer losses than this do not show two groups."""

LEAST_GAP = 0.05
"""Two groups whose mean losses are closer than this count as one."""


def low_losses(losses: Tensor) -> Tensor:
    """Find the losses that more probably belong to the lower of two Gaussians than to the higher one.

    Args:
        losses: ``[N]`` on the CPU, finite, 0..1.

    Returns:
        Boolean ``[N]``: all up to a certain loss.
    """
    return low_loss_chances(losses) > 0.5


def low_loss_chances(losses: Tensor) -> Tensor:
    """Compute the probability that each loss belongs to the lower of two Gaussians, fitted by expectation maximisation.

    The losses are scaled to 0..1 first. Losses of exactly 0 are low, and are excluded from the fit: where they are
    numerous (images without the object, for example), they would form a component by themselves.

    A mixture of two always finds two, and a wide component also claims the losses beyond a narrow one. So all losses
    are low if there are too few of them, if one Gaussian explains them equally well (by the Bayesian information
    criterion), or if the two are too close to each other; and whatever the posterior says, losses up to the lower mean
    are low, and losses from the higher mean on are not.

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
