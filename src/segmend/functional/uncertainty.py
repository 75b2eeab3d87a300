"""Uncertainty of a network, from several stochastic passes."""

from __future__ import annotations

import math

from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the classes in nats, 0..log C.

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1 over the classes.

    Returns:
        ``[B, *spatial]``. The logarithm is guarded by 1e-6, as in UA-MT.
    """
    return -(probabilities * (probabilities + 1e-6).log()).sum(1)


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """``entropy`` divided by log C, so that it lies in 0..1: ``[B, C, *spatial]`` to ``[B, *spatial]``."""
    return entropy(probabilities) / math.log(probabilities.shape[1])


def spread_of_halved_logits(logits: Tensor) -> Tensor:
    """Standard deviation (N - 1) over the passes of sigmoid(logit / 2), channel by channel.

    The uncertainty in PLIL's public code, where its paper has an entropy.

    Args:
        logits: ``[passes, B, C, *spatial]``, at least two passes.

    Returns:
        ``[B, C, *spatial]``, in 0..0.71.
    """
    return (logits.float() / 2).sigmoid().std(0)


def variance_of_passes(probabilities: Tensor) -> Tensor:
    """Variance (N) over the passes of each class's probability, averaged over the classes.

    Args:
        probabilities: ``[passes, B, C, *spatial]``.

    Returns:
        ``[B, *spatial]``, in 0..0.25; 0 where all passes agree.
    """
    return probabilities.var(0, correction=0).mean(1)


def confidence(probabilities: Tensor) -> Tensor:
    """Confidence of a prediction, 0 for a uniform one: 1 - C / (C - 1) (1 - sum_c p_c^2).

    With two classes it is 1 - 4 p_0 p_1 = (p_0 - p_1)^2, the pixel weight in AIDE's public code.

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1 over the classes.

    Returns:
        ``[B, *spatial]``, from 0 where all classes are equally probable to 1 where one is certain.
    """
    classes = probabilities.shape[1]
    return 1 - classes / (classes - 1) * (1 - probabilities.square().sum(1))
