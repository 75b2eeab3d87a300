"""Agreement of several predictions of one image: their differences, losses of these, and their weighted mean."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.functional.losses import cross_entropy
from segmend.functional.weighting import masked_mean


def squared_difference(first: Tensor, second: Tensor) -> Tensor:
    """Mean over the classes of the squared difference: two ``[B, C, *spatial]`` to ``[B, *spatial]``."""
    return (first - second).square().mean(1)


def kl_divergence(probabilities: Tensor, log_probabilities: Tensor) -> Tensor:
    """KL(p || q) = sum_c p_c log(p_c / q_c) at each voxel; summed over the classes it is never negative.

    Args:
        probabilities: p, ``[B, C, *spatial]``; 0 log 0 counts as 0.
        log_probabilities: log q, ``[B, C, *spatial]``, from log-softmax so that no q is 0.

    Returns:
        ``[B, *spatial]`` in nats, 0 where both agree.
    """
    return F.kl_div(log_probabilities, probabilities, reduction="none").sum(1)


def kl_divergence_of_logs(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) at each voxel, for learning p too: its gradient stays finite where p underflows to 0.

    Args:
        log_p: ``[B, C, *spatial]`` logarithms of probabilities.
        log_q: the same for q.

    Returns:
        ``[B, *spatial]`` in nats.
    """
    return (log_p.exp() * (log_p - log_q)).sum(1)


def jensen_shannon(log_probabilities: Tensor) -> Tensor:
    """H(mean_i p_i) - mean_i H(p_i) at each voxel: how much several predictions disagree, 0..log of their number.

    Args:
        log_probabilities: ``[predictions, B, C, *spatial]``, from log-softmax; gradients flow into all of them.

    Returns:
        ``[B, *spatial]`` in nats; 0 where all agree.
    """
    log_mean = log_probabilities.logsumexp(0) - math.log(len(log_probabilities))
    return torch.stack([kl_divergence_of_logs(each, log_mean) for each in log_probabilities]).mean(0)


def joint_loss(first: Tensor, second: Tensor, label: Tensor, co_lambda: float) -> tuple[Tensor, Tensor]:
    """Cross-entropies of both networks, and how much they disagree (JoCoR, Wei et al., CVPR 2020, Eqs. 1-4).

    Args:
        first: logits ``[B, C, *spatial]``, or logarithms of probabilities.
        second: the same for the other network.
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        co_lambda: weight of the disagreement, 0..1.

    Returns:
        Two maps ``[B, *spatial]``, whose sum is the loss: (1 - lambda) (CE_1 + CE_2), which is 0 where the label is
        ``IGNORE``, and lambda (KL(p_1 || p_2) + KL(p_2 || p_1)), which is not.
    """
    log_first, log_second = first.float().log_softmax(1), second.float().log_softmax(1)
    supervised = cross_entropy(first, label) + cross_entropy(second, label)
    divergence = kl_divergence_of_logs(log_first, log_second) + kl_divergence_of_logs(log_second, log_first)
    return (1 - co_lambda) * supervised, co_lambda * divergence


def rectified_discrepancy(logits: Tensor, divergence: Literal["from_mean", "to_mean"] = "from_mean") -> Tensor:
    r"""How much the predictions of several scales deviate from their mean, with more weight where they nearly agree.

    mean_s [ sum exp(-D_s) (\bar p - p_s)^2 / sum exp(-D_s) + mean D_s ], the consistency loss of URPC. Gradients flow
    through everything, including the mean and the weights.

    Args:
        logits: ``[scales, B, C, *spatial]``.
        divergence: D_s is KL(\bar p || p_s), 'from_mean', or KL(p_s || \bar p), 'to_mean'.

    Returns:
        Scalar, >= 0; 0 where all scales agree.
    """
    log_scales = logits.float().log_softmax(2)
    log_mean = log_scales.logsumexp(0) - math.log(len(logits))
    terms = []
    for log_scale in log_scales:
        pair = (log_mean, log_scale) if divergence == "from_mean" else (log_scale, log_mean)
        apart = kl_divergence_of_logs(*pair)
        difference = squared_difference(log_mean.exp(), log_scale.exp())
        terms.append(masked_mean(difference, (-apart).exp()) + apart.mean())
    return torch.stack(terms).mean()


def structural_difference(first: Tensor, second: Tensor) -> Tensor:
    r"""How much two predictions differ in which voxels they find similar (LG-ER-MT, Hang et al., MICCAI 2020).

    Probabilities of each voxel are scaled to unit length, F for one prediction and G for the other, each C x M. The
    M x M products F^T F and G^T G hold the similarity of every pair of voxels, and ||F^T F - G^T G||^2 / M^2 is their
    mean squared difference. It is computed as ||F F^T||^2 - 2 ||F G^T||^2 + ||G G^T||^2 from products of C x C, in
    float64, since the three nearly cancel.

    Args:
        first: probabilities ``[B, C, *spatial]``.
        second: the same.

    Returns:
        ``[B]`` float32, >= 0; 0 where both find the same voxels similar.
    """
    f, g = (each.flatten(2).double() for each in (first, second))
    f, g = (each / (torch.linalg.vector_norm(each, dim=1, keepdim=True) + 1e-8) for each in (f, g))
    within, across, within_second = (
        (one @ other.transpose(1, 2)).square().sum((1, 2)) for one, other in ((f, f), (f, g), (g, g))
    )
    difference: Tensor = (within - 2 * across + within_second).clamp(min=0) / f.shape[2] ** 2
    return difference.float()


def divergence_weighted_mean(log_probabilities: Tensor) -> Tensor:
    """Weighted mean in which a prediction weighs less at a voxel the more it deviates from the plain mean there.

    sum_j p_j exp(-H_j) / sum_j exp(-H_j) with H_j = KL(mean_j p_j || p_j): the label refinement of ALC
    (Eqs. 4-6) before it is rounded to the largest class.

    Args:
        log_probabilities: ``[passes, B, C, *spatial]``, from log-softmax.

    Returns:
        Probabilities ``[B, C, *spatial]``.
    """
    probabilities = log_probabilities.exp()
    mean = probabilities.mean(0)
    divergences = torch.stack([kl_divergence(mean, each) for each in log_probabilities])
    return (probabilities * (-divergences).softmax(0).unsqueeze(2)).sum(0)
