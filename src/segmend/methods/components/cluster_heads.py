"""Assignments of the voxels of a network's features to clusters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segmend.methods.components.side_heads import feature_widths
from segmend.networks import Network
from segmend.networks.blocks import convolution


class ClusterHeads(nn.Module):
    """Several independent 1-voxel convolutions to clusters on each of several features; the network is unchanged.

    Args:
        network: whose features they are.
        names: sub-modules whose outputs get heads.
        clusters: number of clusters K.
        heads: number of heads on each feature.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """

    def __init__(self, network: Network, names: Sequence[str], clusters: int, heads: int) -> None:
        super().__init__()
        self.clusters = clusters
        dimensions = network.arguments["dimensions"]
        self.heads = nn.ModuleList(
            convolution(width, heads * clusters, 1, dimensions) for width in feature_widths(network, names)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Assignments on the grid of each feature.

        Args:
            features: ``[B, channels, *coarse]`` of each name.

        Returns:
            ``[B, heads, K, *coarse]`` float32 of each name, summing to 1 over the clusters.
        """
        with torch.autocast(features[0].device.type, enabled=False):
            logits = [head(feature.float()) for head, feature in zip(self.heads, features, strict=True)]
        return [each.unflatten(1, (-1, self.clusters)).softmax(2) for each in logits]
