"""Mixup."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
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

    Deviations from the paper: ``docs/methods/Mixup.md``.

    Args:
        network: the network.
        alpha: \alpha, above 0; the smaller, the less samples are mixed.
    """

    kind = "noisy"
    paper = "Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018"
    cost = "1 network"
    needs = Composition(any_labelled=4)

    def __init__(self, network: Network, *, alpha: float = 1.0) -> None:
        super().__init__(network)
        self.alpha = alpha

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``mixed``."""
        rows = batch.labelled
        if not rows:
            return {}
        image, partners = batch.image[rows], torch.randperm(len(rows))
        shares = beta_shares(image, self.alpha)
        logits = self.network(mixed(image, partners, shares))
        target = mixed_targets(one_hot(batch.label[rows], logits.shape[1]), partners, shares)
        return {"mixed": soft_cross_entropy_dice(logits, target)}
