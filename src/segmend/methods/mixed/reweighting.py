"""Spatially adaptive reweighting."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.functional.weighting import agreement, masked_mean, share_of_positive
from segmend.methods._base import Method, Step
from segmend.methods.components.virtual import logits_jvp, loss_gradient
from segmend.networks import Network


class Reweighting(Method):
    r"""Weighs each voxel of noisy labels by how much learning from it would help on expert labels.

    With l_j the cross-entropy of voxel j of a noisy label and V the mean cross-entropy on expert samples,

        L = \sum_j w_j l_j,  w_j = max(0, u_j) / \sum_k max(0, u_k),  u_j = <\nabla l_j, \nabla V>,

    where u_j is how fast V falls as the network descends l_j alone: the meta-gradient of Ren et al.,
    ICML 2018, for every voxel. If no voxel helps, all weights are 0.

    Implementation notes. The virtual step starts from zero weights and so ends where it starts; hence all u_j are
    one forward-mode pass along \nabla V instead of a second-order graph, and the two step sizes cancel. Such passes are
    in float32, with batch statistics but without dropout, and leave the network unchanged (the public code's has
    neither). The paper is binary, with a sigmoid; softmax is the same for two classes and allows more. Equations are
    those of the public code and of MLB-Seg, which repeats them.

    Args:
        network: any.
        clean_weight: weight of V itself in the loss. In the paper expert samples only steer.
    """

    kind = "mixed"
    paper = "Mirikharaji et al., Learning to segment skin lesions from noisy annotations, DART 2019"
    cost = "1 network, about 2 passes more of noisy samples"
    needs = Composition(expert=2, noisy=2)

    def __init__(self, network: Network, *, clean_weight: float = 0.0) -> None:
        super().__init__(network)
        self.clean_weight = clean_weight

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``noisy``, and ``expert`` if it has a weight."""
        noisy, expert = batch.rows(Quality.NOISY), batch.rows(Quality.EXPERT)
        terms: dict[str, Tensor] = {}
        if noisy:
            weights = self.weigh(batch.image[noisy], batch.label[noisy], batch.image[expert], batch.label[expert])
            terms["noisy"] = (weights * cross_entropy(self.network(batch.image[noisy]), batch.label[noisy])).sum()
        if expert and self.clean_weight:
            label = batch.label[expert]
            loss = masked_mean(cross_entropy(self.network(batch.image[expert]), label), label != IGNORE)
            terms["expert"] = self.clean_weight * loss
        return terms

    def weigh(self, image: Tensor, label: Tensor, expert_image: Tensor, expert_label: Tensor) -> Tensor:
        """Weights ``[B, *spatial]`` of the voxels of noisy labels, >= 0 with sum 1, or 0 without an expert sample.

        Args:
            image: ``[B, channels, *spatial]``.
            label: ``[B, *spatial]`` class indices.
            expert_image: another number of images.
            expert_label: their labels.
        """
        if not len(expert_image):
            return torch.zeros_like(label, dtype=torch.float32)
        direction = loss_gradient(self.network, expert_image, expert_label)
        logits, drift = logits_jvp(self.network, image, direction)
        return share_of_positive(agreement(logits, drift, label))
