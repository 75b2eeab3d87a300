"""Selection of samples or voxels by small losses: a given fraction, or the lower of two Gaussians.

The Gaussians are fitted on the CPU, by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from segmend.core.masks import IGNORE

Scope = Literal["pixel", "class", "image"]
"""What competes for a small loss: all voxels of a batch, those of each labelled class separately, or whole samples."""


def smallest(losses: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The entries with the smallest losses: deterministic, the earlier of two equal ones first.

    Numbers and not a mask, since their count is known: an accelerator need not be waited for.

    Args:
        losses: ``[N]``.
        count: how many, 0..N.

    Returns:
        Their numbers ``[count]`` and those of all others ``[N - count]``, both ascending.
    """
    order = losses.detach().argsort(stable=True)
    return order[:count].sort().values, order[count:].sort().values


def smaller_half(losses: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The half of the samples with the smaller losses, at least one; those without any label come last.

    Args:
        losses: ``[B]``.
        label: ``[B, *spatial]`` class indices or ``IGNORE``.

    Returns:
        Numbers of these samples, and of the others, see ``smallest``.
    """
    unlabelled = (label == IGNORE).flatten(1).all(1)
    return smallest(losses.masked_fill(unlabelled, torch.inf), max(len(losses) // 2, 1))


def smallest_share(losses: Tensor, among: Tensor, share: float) -> Tensor:
    """Select the voxels with the smallest losses among some of them; equal ones all or none, whatever their order.

    Args:
        losses: any shape.
        among: boolean, of the same shape: the voxels that can be chosen.
        share: fraction of these to select, above 0 to 1; rounded to a whole number, but at least one voxel.

    Returns:
        Boolean, of the same shape; at least that fraction of ``among``.
    """
    candidates = losses.detach()[among]
    if not len(candidates):
        return among
    largest = candidates.kthvalue(max(round(share * len(candidates)), 1)).values
    return among & (losses <= largest)


def hard_voxels(probabilities: Tensor, among: Tensor, threshold: float = 0.7, least: float = 1 / 16) -> Tensor:
    """Select the voxels whose labels are not learned yet: online hard example mining (Shrivastava et al., CVPR 2016).

    Args:
        probabilities: of the labels, any shape.
        among: boolean, of the same shape: the voxels that count.
        threshold: those with a lower probability are selected.
        least: fraction of these voxels that is selected at least.

    Returns:
        Boolean, of the same shape.
    """
    return (among & (probabilities < threshold)) | smallest_share(probabilities, among, least)


def small_loss_voxels(losses: Tensor, label: Tensor, shares: Sequence[float], *, scope: Scope, among: Tensor) -> Tensor:
    """Select the voxels with small losses in a whole batch.

    Args:
        losses: ``[B, *spatial]``.
        label: ``[B, *spatial]`` class indices.
        shares: fraction to select, 0..1, but never none: one for all, or one for each class by its index.
        scope: what competes. Samples compete by their mean loss, and all voxels of a selected sample are selected.
        among: boolean ``[B, *spatial]``: the voxels that count.

    Returns:
        Boolean ``[B, *spatial]``, true only where ``among`` is.
    """
    if scope == "pixel":
        return smallest_share(losses, among, shares[0])
    if scope == "image":
        counts = among.flatten(1).sum(1)
        means = (losses * among).flatten(1).sum(1) / counts.clamp(min=1)
        samples = smallest_share(means, counts > 0, shares[0])
        return among & samples.view(-1, *[1] * (among.ndim - 1))
    chosen = torch.zeros_like(among)
    voxels = label.where(among, IGNORE).flatten().bincount().tolist()
    for index in (index for index, count in enumerate(voxels) if count and index != IGNORE):
        share = shares[index if len(shares) > 1 else 0]
        chosen |= smallest_share(losses, among & (label == index), share)
    return chosen


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
