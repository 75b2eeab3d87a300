"""A network that judges, place by place, whether a segmentation looks like a label."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from segmend.functional.resampling import upsample
from segmend.functional.weighting import masked_mean
from segmend.methods.components.critic import frozen_pass, padded
from segmend.networks import Network
from segmend.networks.blocks import wide_halving


class PatchCritic(nn.Module):
    """Distinguishes labels from predicted probabilities, which the segmenting network is to make look like labels.

    The fully convolutional discriminator of Hung et al. (BMVC 2018), as deep as SASSNet's public code has it for DAP:
    four strided convolutions with leaky ReLU, the last to one logit. The weights of each layer are divided by their
    largest singular value (Miyato et al., Spectral normalization, ICLR 2018), since the critic shares the optimiser of
    the segmenting network.

    ``loss_of`` moves what it judges, and ``own_loss`` the critic alone, so that one backward pass of both is a step of
    both at once.

    Args:
        network: the network that segments; it determines the classes and the dimensions.
        width: channels of the first layer, which the next two double.
    """

    def __init__(self, network: Network, width: int = 64) -> None:
        super().__init__()
        dimensions = network.arguments["dimensions"]
        widths = [network.arguments["classes"], width, 2 * width, 4 * width, 1]
        layers: list[nn.Module] = []
        for above, here in pairwise(widths):
            layers += [spectral_norm(wide_halving(above, here, dimensions)), nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers[:-1])

    def forward(self, maps: Tensor) -> Tensor:
        """Logits ``[B, *spatial]`` float32 of 'is a label', interpolated linearly.

        Args:
            maps: segmentations ``[B, C, *spatial]``: probabilities, or one-hot labels. Sides below 16 voxels are
                padded.
        """
        judged: Tensor = self.trunk(padded(maps))
        return upsample(judged.float(), maps.shape[2:]).squeeze(1)

    def judged(self, maps: Tensor) -> Tensor:
        """The same logits, whose gradient reaches the segmentation but not the critic."""
        return frozen_pass(self, maps)

    def own_loss(self, predicted: Tensor, labels: Tensor) -> Tensor:
        """Loss of the critic, which is to tell labels from predictions; moves the critic alone.

        Args:
            predicted: probabilities ``[B, C, *spatial]``.
            labels: one-hot ``[B', C, *spatial]``, 0 in all classes where nothing is known, which does not count.

        Returns:
            Half the mean binary cross-entropy of both, a scalar.
        """
        false, true = self(predicted.detach()), self(labels)
        known = labels.sum(1) > 0
        return 0.5 * (likeness_loss(-false).mean() + masked_mean(likeness_loss(true), known))


def likeness_loss(logits: Tensor) -> Tensor:
    """Binary cross-entropy ``[B, *spatial]`` of judgements ``[B, *spatial]`` that should be 'is a label'."""
    return F.softplus(-logits)


def taken_for_labels(logits: Tensor, threshold: float) -> Tensor:
    """Where the probability of 'is a label' exceeds a threshold, boolean ``[B, *spatial]``."""
    return torch.sigmoid(logits.detach()) > threshold
