"""Batches larger than what a network can hold in memory at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segmend.core.precision import float32_small_convs_on_cpu
from segmend.networks import Network


def chunks_of(image: Tensor, size: int | None) -> Sequence[Tensor]:
    """Split the batch into as few chunks of at most ``size`` samples as possible, nearly equal; one if it is None.

    Nearly equal, because batch norm works poorly on a single left-over sample.
    """
    return image.tensor_split(math.ceil(len(image) / (size or len(image))))


def pass_in_chunks(network: Network, image: Tensor, size: int | None) -> Tensor:
    """Compute the logits of a whole batch, holding the activations of only a few samples at a time.

    Backward passes each chunk a second time, with the same dropout. The loss still sees all logits together, so that it
    may rank samples or count voxels over the batch, which gradient accumulation would not allow.

    Batch norm is the one difference to a single pass: each chunk is normalised by its own statistics, and as it is
    passed twice, the running statistics follow it by two updates.

    Args:
        network: any.
        image: ``[B, channels, *spatial]``.
        size: most samples of a chunk; None passes all at once, as ``network(image)`` does.

    Returns:
        ``[B, classes, *spatial]``.
    """
    if size is None:
        logits: Tensor = network(image)
        return logits

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        # Backward runs outside the context that the learner gives the loss.
        return float32_small_convs_on_cpu(image.device), float32_small_convs_on_cpu(image.device)

    chunks = chunks_of(image, size)
    return torch.cat([checkpoint(network, chunk, use_reentrant=False, context_fn=contexts) for chunk in chunks])
