"""Batches larger than what a network can hold in memory at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segmend.core.precision import trustworthy_gradients
from segmend.networks import Network


def chunks_of(image: Tensor, size: int | None) -> Sequence[Tensor]:
    """The batch in as few chunks of at most ``size`` samples as possible, all but equal; one chunk if it is None.

    Equal, because batch norm makes little of a single sample that is left over.
    """
    return image.tensor_split(math.ceil(len(image) / (size or len(image))))


def pass_in_chunks(network: Network, image: Tensor, size: int | None) -> Tensor:
    """Logits of a whole batch, of which only a few samples' activations are held at a time.

    Backward passes each chunk a second time, with the same dropout. The loss still sees all logits together, so
    that it may rank samples or count voxels over the batch, which accumulated gradients would not let it do.

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
        return trustworthy_gradients(image.device), trustworthy_gradients(image.device)

    chunks = chunks_of(image, size)
    return torch.cat([checkpoint(network, chunk, use_reentrant=False, context_fn=contexts) for chunk in chunks])
