"""A network that judges from which kind of scan a segmentation is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from segmend.methods.components.modes import evaluating
from segmend.networks import Network
from segmend.networks.blocks import channel_dropout, wide_halving

_LEAST_SIDE = 16
"""What four halvings reduce to one voxel."""


class Critic(nn.Module):
    """Distinguishes segmentations of labelled scans from others; the segmenting network is to make them the same.

    The evaluation network of DAN and SASSNet: one strided convolution of the segmentation, one of its image, their sum,
    three more of them with leaky ReLU and dropout, the mean over space, and a linear layer. The weights of each layer
    are divided by their largest singular value (Miyato et al., Spectral normalization, ICLR 2018): without it, a critic
    that shares the optimiser of the segmenting network diverges.

    ``adversarial_loss`` and ``own_loss`` have disjoint gradients: the first moves the segmentation alone, the second
    the critic alone. One backward pass of their sum therefore is a step of both at once. Reversing the critic's
    gradient would not be the same: what the first lowers is -log P(labelled), not -(-log P(not labelled)), whose
    gradient vanishes when the critic is certain, and labelled scans have no part in it.

    Args:
        network: the network that segments; it determines the channels of the image, and the dimensions.
        maps: channels of a segmentation.
        width: channels of the first layer, which the next three double.
    """

    def __init__(self, network: Network, maps: int, width: int = 64) -> None:
        super().__init__()
        dimensions = network.arguments["dimensions"]
        self.of_maps = spectral_norm(wide_halving(maps, width, dimensions))
        self.of_image = spectral_norm(wide_halving(network.arguments["in_channels"], width, dimensions))
        layers: list[nn.Module] = []
        for here in (width, 2 * width, 4 * width):
            halving = spectral_norm(wide_halving(here, 2 * here, dimensions))
            layers += [nn.LeakyReLU(0.2), channel_dropout(0.5, dimensions), halving]
        self.trunk = nn.Sequential(*layers, nn.LeakyReLU(0.2))
        self.head = spectral_norm(nn.Linear(8 * width, 2))

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        """Logits ``[B, 2]`` float32 of 'not labelled' and 'labelled'.

        Args:
            maps: segmentations ``[B, maps, *spatial]``: probabilities, for example. Sides below 16 voxels are padded.
            image: ``[B, channels, *spatial]``.
        """
        features = self.trunk(self.of_maps(padded(maps)) + self.of_image(padded(image)))
        logits: Tensor = self.head(features.flatten(2).mean(2))
        return logits.float()

    def adversarial_loss(self, maps: Tensor, image: Tensor) -> Tensor:
        """Loss of segmentations that the critic does not take for those of labelled scans; moves what made them alone.

        Args:
            maps: of scans without a label, ``[B, maps, *spatial]``.
            image: ``[B, channels, *spatial]``.

        Returns:
            Mean cross-entropy, a scalar; ln 2 if the critic cannot decide.
        """
        return _cross_entropy(frozen_pass(self, maps, image), range(len(maps)))

    def own_loss(self, maps: Tensor, image: Tensor, labelled: Sequence[int]) -> Tensor:
        """Loss of the critic, which is to distinguish scans with a label from others; moves the critic alone.

        Args:
            maps: of all scans, ``[B, maps, *spatial]``.
            image: ``[B, channels, *spatial]``.
            labelled: rows of the scans with a label.

        Returns:
            Mean cross-entropy, a scalar.
        """
        return _cross_entropy(self(maps.detach(), image), labelled)


def _cross_entropy(logits: Tensor, labelled: Sequence[int]) -> Tensor:
    target = torch.tensor([int(row in labelled) for row in range(len(logits))], device=logits.device)
    return F.cross_entropy(logits, target)


def frozen_pass(critic: nn.Module, *inputs: Tensor) -> Tensor:
    """What a critic says in evaluation mode, whose gradient reaches the inputs but not the critic."""
    frozen = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    with evaluating(critic):
        logits: Tensor = functional_call(critic, frozen, inputs)
    return logits


def padded(maps: Tensor) -> Tensor:
    """With zeros behind the end of each axis that is too short for four halvings: below 16 voxels."""
    lacking = [max(0, _LEAST_SIDE - side) for side in reversed(maps.shape[2:])]
    return F.pad(maps, [each for short in lacking for each in (0, short)]) if any(lacking) else maps
