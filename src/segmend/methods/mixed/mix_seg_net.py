"""MixSegNet."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice, squared_dice_loss
from segmend.functional.losses import cross_entropy, probabilities
from segmend.functional.soft_labels import one_hot
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Step
from segmend.methods._two_networks import Prediction, TwoNetworks
from segmend.networks import Network


class MixSegNet(TwoNetworks):
    r"""Two networks learn from expert and noisy labels, and from pseudo labels that both predict together.

    With the probabilities p_1 and p_2, and \beta ~ U(0, 1) drawn for each step,

        q = argmax(\beta p_1 + (1 - \beta) p_2),
        L = \sum_i [ L_sup(p_i, expert) + \lambda CE(p_i, noisy) ] + w / 2 \sum_i Dice(p_i, q),

    where the last term is on all samples without an expert label. The random mixture keeps the two from agreeing on one
    network's errors; no gradient passes through q.

    Deviations from the paper: ``docs/methods/MixSegNet.md``.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        agreement: w, the weight of the pseudo labels.
        noisy_weight: \lambda, the weight of noisy labels.
        prediction: of the first network, of the second, or the mean of both.
    """

    kind = "mixed"
    paper = (
        "Wang & Yang, MixSegNet: Fusing multiple mixed-supervisory signals with multiple views of networks, EAAI 2024"
    )
    needs = Composition(expert=2, noisy=2)

    def __init__(
        self,
        network: Network,
        *,
        agreement: float = 0.5,
        noisy_weight: float = 0.5,
        prediction: Prediction = "mean",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self.agreement, self.noisy_weight = agreement, noisy_weight

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``noisy`` and ``agreement``, each of both networks together."""
        expert, noisy, others = batch.rows(Quality.EXPERT), batch.rows(Quality.NOISY), batch.unsupervised
        both = [network(batch.image) for network in self.networks]
        terms = {}
        if expert:
            losses = [cross_entropy_dice(logits[expert], batch.label[expert]) for logits in both]
            terms["expert"] = torch.stack(losses).sum()
        if noisy:
            label = batch.label[noisy]
            losses = [masked_mean(cross_entropy(logits[noisy], label), label != IGNORE) for logits in both]
            terms["noisy"] = self.noisy_weight * torch.stack(losses).sum()
        if others:
            first, second = (probabilities(logits[others]) for logits in both)
            terms["agreement"] = self.agreement * mixed_dice(first, second, torch.rand(()).item())
        return terms


def mixed_dice(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Mean Dice loss of two predictions with the class of their mixture as target.

    Args:
        first: ``[B, C, *spatial]``, summing to 1 over the classes.
        second: the same for the other network.
        share: weight of the first in the mixture, 0..1.

    Returns:
        Scalar, 0..1, the mean over the classes too.
    """
    classes = torch.lerp(second.detach(), first.detach(), share).argmax(1)
    target = one_hot(classes, first.shape[1])
    return 0.5 * (squared_dice_loss(first, target).mean() + squared_dice_loss(second, target).mean())
