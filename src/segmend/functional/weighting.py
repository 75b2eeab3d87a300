"""Weights of the samples of a batch."""

from __future__ import annotations

from torch import Tensor


def bounded_softmax(scores: Tensor, bound: float, counted: Tensor) -> Tensor:
    r"""Softmax of \lambda tanh(score) over the samples that count: the weights of pick-and-learn.

    The bound keeps a batch from being trained on one sample: no weight is more than e^(2 \lambda) times another.

    Args:
        scores: ``[B]``.
        bound: \lambda; 0 weights all equally.
        counted: ``[B]`` boolean.

    Returns:
        ``[B]``: 0 for samples that do not count, the others sum to 1.
    """
    weights = (bound * scores.tanh()).softmax(0) * counted
    return weights / weights.sum().clamp(min=1e-16)
