"""A second output of a network: signed distance maps."""

from __future__ import annotations

from torch import Tensor, nn

from segmend.core.masks import IGNORE
from segmend.functional.distance_maps import signed_distance_maps
from segmend.functional.weighting import masked_mean
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.side_heads import SideHeads
from segmend.networks import Network


class DistanceHead(nn.Module):
    """Regresses the signed distance map of each object from the last decoder feature, as in DTC and SASSNet.

    It is a 1-voxel convolution and tanh, one channel for each class but the background. The network is unchanged and
    not a part of it.

    Args:
        network: the network.
        feature: sub-module whose output the head reads; the finest of the network's decoder scales by default.

    Raises:
        InputError: the feature is not a sub-module of the network, or none is named.
    """

    def __init__(self, network: Network, feature: str | None = None) -> None:
        super().__init__()
        names = (feature,) if feature else network.decoder_scales[-1:]
        self._network = (network,)  # in a tuple it is no sub-module, which would be saved twice
        self._taps = FeatureTaps(network, names)
        self.head = SideHeads(network, names, channels=network.arguments["classes"] - 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Both outputs of one pass of images ``[B, channels, *spatial]``.

        Returns:
            The network's logits ``[B, C, *spatial]``, and distance maps ``[B, C - 1, *spatial]`` float32 in -1..1,
            negative inside the object.
        """
        (network,) = self._network
        with self._taps.recording(attached=True) as features:
            logits = network(image)
        (distances,) = self.head(features, image.shape[2:])
        return logits, distances.tanh()

    def loss(self, distances: Tensor, label: Tensor) -> Tensor:
        """Mean squared error of distance maps of labelled samples, over the voxels with a label.

        Args:
            distances: ``[B, C - 1, *spatial]``.
            label: ``[B, *spatial]`` class indices or ``IGNORE``.

        Returns:
            Scalar, >= 0.
        """
        target = signed_distance_maps(label, distances.shape[1] + 1)
        return masked_mean((distances - target).square(), (label != IGNORE).unsqueeze(1))
