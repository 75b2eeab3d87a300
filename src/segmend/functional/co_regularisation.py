"""The joint loss of two networks that learn from the same label."""

from __future__ import annotations

from torch import Tensor

from segmend.functional.consistency import kl_divergence_of_logs
from segmend.functional.voxel import cross_entropy


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
