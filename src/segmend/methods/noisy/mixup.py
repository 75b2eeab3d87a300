"""Mixup."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import soft_cross_entropy_dice
from segmend.functional.perturbations import beta_shares, mixed, mixed_targets
from segmend.functional.soft_labels import one_hot
from segmend.methods._base import Method, Step
from segmend.networks import Network


class Mixup(Method):
    r"""Trains on blends of two samples and of their labels.

    L = L_sup(f(\lambda x_i + (1 - \lambda) x_j), \lambda y_i + (1 - \lambda) y_j),    \lambda ~ Beta(\alpha, \alpha),

    where j is another sample of the batch, or by chance the same. A network trained to be linear between samples cannot
    fit single wrong labels.

    Implementation notes. The paper classifies; here labels are mixed voxel by voxel, so that a blend shows, and is
    labelled with, the objects of both. L_sup is half cross-entropy, half squared Dice, which is the form of Dice that
    soft labels can reach, as in all methods that are compared on the left atrium; the paper's is cross-entropy. \lambda
    is drawn for each sample, not for each batch. Voxels that are unknown in one of the two are unknown in the blend.
    Segmentation studies have used it as a small additional term next to the plain loss; here it is the loss.

    Args:
        network: the network.
        alpha: \alpha, above 0; the smaller, the less samples are mixed.
    """

    kind = "noisy"
    paper = "Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018"
    cost = "1 network"
    needs = Composition(mixed=4)

    def __init__(self, network: Network, *, alpha: float = 1.0) -> None:
        super().__init__(network)
        self.alpha = alpha

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``mixed``."""
        rows = batch.rows(Quality.EXPERT, Quality.NOISY)
        if not rows:
            return {}
        image, partners = batch.image[rows], torch.randperm(len(rows))
        shares = beta_shares(image, self.alpha)
        logits = self.network(mixed(image, partners, shares))
        target = mixed_targets(one_hot(batch.label[rows], logits.shape[1]), partners, shares)
        return {"mixed": soft_cross_entropy_dice(logits, target)}
