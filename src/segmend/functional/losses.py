"""Voxel-wise losses: cross-entropy, and losses that give less weight to a label which the network finds unlikely."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from segmend.core.masks import IGNORE
from segmend.functional.class_sets import sets_are_known, with_sets


def probabilities(logits: Tensor) -> Tensor:
    """Class probabilities ``[B, C, *spatial]`` of logits, in float32 whatever the network computes in."""
    return logits.float().softmax(1)


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy at each voxel, in float32 from log-softmax.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices, or sets of them (``functional.class_sets``); ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    if sets_are_known():
        return F.nll_loss(*with_sets(logits.float().log_softmax(1), label), ignore_index=-1, reduction="none")
    return F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction="none")


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy at each voxel with a distribution over the classes, in float32 from log-softmax.

    Args:
        logits: ``[B, C, *spatial]``.
        target: ``[B, C, *spatial]``, summing to 1 over the classes, or 0 in all of them where nothing is known.

    Returns:
        Loss map ``[B, *spatial]``, >= 0; 0 where nothing is known.
    """
    return -(target * logits.float().log_softmax(1)).sum(1)


def generalised_cross_entropy(logits: Tensor, label: Tensor, q: float) -> Tensor:
    """(1 - p_y^q) / q at each voxel (Zhang & Sabuncu, NeurIPS 2018): near cross-entropy for small q, 1 - p_y for 1.

    Its gradient is p_y^q times that of cross-entropy. It is computed from the logarithm of p_y, since the derivative of
    p^q alone explodes where p is small.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.
        q: above 0, to 1.

    Returns:
        Loss map ``[B, *spatial]``, 0..1/q.
    """
    return -(-q * cross_entropy(logits, label)).expm1() / q


def truncated_cross_entropy(logits: Tensor, label: Tensor, q: float, k: float) -> Tensor:
    """The generalised cross-entropy, but constant where p_y <= k, so that such labels have no gradient (ibid.).

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.
        q: above 0, to 1.
        k: the least probability of a trusted label, above 0, below 1.

    Returns:
        Loss map ``[B, *spatial]``, 0..(1 - k^q) / q.
    """
    return generalised_cross_entropy(logits, label, q).clamp(max=(1 - k**q) / q)


def symmetric_cross_entropy(
    logits: Tensor, label: Tensor, alpha: float, beta: float, log_of_zero: float = -4.0
) -> Tensor:
    """For each voxel, alpha CE(y, p) + beta CE(p, y) (Wang et al., ICCV 2019).

    The second, reverse term is -sum_c p_c log y_c. With the logarithm of 0 set to a constant it is that constant times
    1 - p_y, up to its sign.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.
        alpha: weight of the cross-entropy.
        beta: weight of the reverse cross-entropy.
        log_of_zero: below 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    forward = cross_entropy(logits, label)
    return alpha * forward + beta * log_of_zero * (-forward).expm1()


def early_learning(logits: Tensor, target: Tensor) -> Tensor:
    """log(1 - <p, t>) at each voxel (ELR, Liu et al., NeurIPS 2020): the lower, the more p agrees with t.

    Its gradient grows with the agreement, so that it outweighs a label that contradicts the early predictions.

    Args:
        logits: ``[B, C, *spatial]``; probabilities p are kept within 1e-4..1 - 1e-4.
        target: t, ``[B, C, *spatial]``, summing to at most 1.

    Returns:
        Map ``[B, *spatial]``, from log 1e-4 to 0.
    """
    probabilities = logits.float().softmax(1).clamp(1e-4, 1 - 1e-4)
    return (1 - (probabilities * target).sum(1)).log()
