"""Differences between two predictions of one image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


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
