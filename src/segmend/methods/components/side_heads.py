"""Heads on features of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segmend.functional.resampling import upsample
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network
from segmend.networks.blocks import convolution
from segmend.networks.fitting import choose_patch

_TRIAL_SIDE = 96


class SideHeads(nn.Module):
    """A 1-voxel convolution on each of several features of a network; the network itself is unchanged.

    Args:
        network: whose features they are.
        names: sub-modules whose outputs get a head.
        channels: of each head's output; one for each class by default: logits.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """

    def __init__(self, network: Network, names: Sequence[str], channels: int | None = None) -> None:
        super().__init__()
        out, dimensions = channels or network.arguments["classes"], network.arguments["dimensions"]
        self.heads = nn.ModuleList(convolution(width, out, 1, dimensions) for width in feature_widths(network, names))

    def forward(self, features: Sequence[Tensor], size: Sequence[int] | None) -> list[Tensor]:
        """Outputs of the heads on the grid of the image, or of each feature.

        Args:
            features: ``[B, width, *coarse]`` of each name.
            size: the grid of the image; None leaves each on its own.

        Returns:
            ``[B, channels, *size]`` float32 of each name; upsampled linearly.
        """
        outputs = [head(feature).float() for head, feature in zip(self.heads, features, strict=True)]
        return outputs if size is None else [upsample(each, size) for each in outputs]


def feature_widths(network: Network, names: Sequence[str]) -> list[int]:
    """Channels of a network's features, found by a pass that computes shapes only.

    Args:
        network: any.
        names: sub-modules whose outputs they are.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """
    trial = copy.deepcopy(network).to("meta").eval()
    taps = FeatureTaps(trial, names)
    channels, dimensions = network.arguments["in_channels"], network.arguments["dimensions"]
    patch = choose_patch(network, channels, [_TRIAL_SIDE] * dimensions)
    with taps.recording() as features:
        trial(torch.empty(1, channels, *patch, device="meta"))
    return [feature.shape[1] for feature in features]
