"""Adversarial images: those that a network finds harder than the images they differ little from."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.functional.perturbations import fast_gradient_sign
from segmend.methods.components.modes import evaluating
from segmend.networks import Network


def adversarial_images(network: Network, image: Tensor, label: Tensor, epsilon: float) -> Tensor:
    """Images changed by one step of the fast gradient sign method (Goodfellow et al., ICLR 2015).

    Args:
        network: passed once in evaluation mode; its statistics, gradients and mode stay as they are.
        image: ``[B, channels, *spatial]``.
        label: ``[B, *spatial]`` class indices. Where it is ``IGNORE``, the network's own prediction is the label.
        epsilon: largest change of an intensity, >= 0.

    Returns:
        ``[B, channels, *spatial]``; the change is constant to the gradient.
    """
    free = image.detach().requires_grad_()
    with evaluating(network), torch.enable_grad():
        logits = network(free)
        target = torch.where(label == IGNORE, logits.argmax(1), label)
        # A sum, since the sign of each sample's gradient must not depend on the others' number of voxels.
        (gradient,) = torch.autograd.grad(cross_entropy(logits, target).sum(), free)
    return fast_gradient_sign(image, gradient, epsilon)
