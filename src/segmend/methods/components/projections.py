"""Projections of a network's features to the unit sphere, where contrastive losses compare them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segmend.methods.components.side_heads import feature_widths
from segmend.networks import Network
from segmend.networks.blocks import convolution


class Projections(nn.Module):
    """Two 1-voxel convolutions with a leaky ReLU between them on each of several features, then unit length.

    The network is unchanged; projections are not used after training.

    Args:
        network: whose features they are.
        names: sub-modules whose outputs are projected.
        width: channels of the projections.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """

    def __init__(self, network: Network, names: Sequence[str], width: int = 256) -> None:
        super().__init__()
        dimensions = network.arguments["dimensions"]
        self.heads = nn.ModuleList(
            nn.Sequential(
                convolution(channels, width, 1, dimensions), nn.LeakyReLU(), convolution(width, width, 1, dimensions)
            )
            for channels in feature_widths(network, names)
        )

    def forward(self, features: Sequence[Tensor], cells: int = 1) -> list[Tensor]:
        """Mean features of the cells of a grid, projected.

        Args:
            features: ``[B, channels, *coarse]`` of each name.
            cells: of the grid along every axis; 1 averages over the image.

        Returns:
            ``[B, cells^dimensions, width]`` float32 of each name, of unit length.
        """
        with torch.autocast(features[0].device.type, enabled=False):
            pooled = [_mean_of_cells(feature.float(), cells) for feature in features]
            projected = [head(each).flatten(2).mT for head, each in zip(self.heads, pooled, strict=True)]
        return [F.normalize(each, dim=2) for each in projected]


def _mean_of_cells(feature: Tensor, cells: int) -> Tensor:
    return F.adaptive_avg_pool2d(feature, cells) if feature.ndim == 4 else F.adaptive_avg_pool3d(feature, cells)
