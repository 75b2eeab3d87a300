"""Passes that leave a network unchanged, and what they reveal about possible optimiser steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.functional.weighting import masked_mean
from segmend.networks import Network

Parameters = dict[str, Tensor]
"""A value for each parameter of a network, by its name."""


@torch.no_grad()
def loss_gradient(network: Network, image: Tensor, label: Tensor) -> Parameters:
    """Gradient of the mean cross-entropy over the labelled voxels.

    Args:
        network: left as it is, batch-norm statistics included.
        image: ``[B, channels, *spatial]``.
        label: ``[B, *spatial]`` class indices; voxels with ``IGNORE`` are left out.
    """

    def loss(parameters: Parameters) -> Tensor:
        return masked_mean(cross_entropy(_virtual_pass(network, parameters, image), label), label != IGNORE)

    gradient: Parameters = grad(loss)(_parameters(network))
    return gradient


@torch.no_grad()
def logits_jvp(network: Network, image: Tensor, direction: Parameters) -> tuple[Tensor, Tensor]:
    """Logits, and their derivative as the parameters move along a direction, in one forward-mode pass.

    That replaces the second-order graph of a meta-gradient with one inner step, and is exact.

    Args:
        network: left as it is, batch-norm statistics included.
        image: ``[B, channels, *spatial]``.
        direction: one for each parameter.

    Returns:
        Two of ``[B, C, *spatial]``.
    """
    logits, drift = jvp(partial(_virtual_pass, network, image=image), (_parameters(network),), (direction,))[:2]
    return logits, drift


@torch.no_grad()
def virtual_logits(network: Network, image: Tensor) -> Tensor:
    """Logits ``[B, C, *spatial]`` of a pass that leaves the network as it is."""
    return _virtual_pass(network, _parameters(network), image)


def _parameters(network: Network) -> Parameters:
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _virtual_pass(network: Network, parameters: Parameters, image: Tensor) -> Tensor:
    """In full precision, since half precision cannot distinguish gradients of single voxels from 0."""
    # Batch norm in training writes its statistics into whatever buffers it is given.
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with torch.autocast(image.device.type, enabled=False), _without_dropout(network):
        logits: Tensor = functional_call(network, (parameters, buffers), (image,))
    return logits


@contextmanager
def _without_dropout(network: Network) -> Iterator[None]:
    """Otherwise the compared gradients would belong to two different thinned networks."""
    active = [each for each in network.modules() if isinstance(each, nn.modules.dropout._DropoutNd) and each.training]
    for dropout in active:
        dropout.eval()
    try:
        yield
    finally:
        for dropout in active:
            dropout.train()
