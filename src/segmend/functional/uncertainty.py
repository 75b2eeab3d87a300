"""How sure a network is, from several stochastic passes."""

from __future__ import annotations

import math

from torch import Tensor


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the classes divided by log C, so that it lies in 0..1.

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1 over the classes.

    Returns:
        ``[B, *spatial]``. The logarithm is guarded by 1e-6, as in UA-MT.
    """
    entropy = -(probabilities * (probabilities + 1e-6).log()).sum(1)
    return entropy / math.log(probabilities.shape[1])


def spread_of_halved_logits(logits: Tensor) -> Tensor:
    """Standard deviation (N - 1) over the passes of sigmoid(logit / 2), channel by channel.

    The uncertainty in PLIL's public code, where its paper has an entropy.

    Args:
        logits: ``[passes, B, C, *spatial]``, at least two passes.

    Returns:
        ``[B, C, *spatial]``, in 0..0.71.
    """
    return (logits.float() / 2).sigmoid().std(0)
