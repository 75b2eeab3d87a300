"""Deep co-training."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import jensen_shannon, kl_divergence
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Step
from segmend.methods._two_networks import Prediction, TwoNetworks
from segmend.methods.components.adversarial import adversarial_images
from segmend.networks import Network


class DeepCoTraining(TwoNetworks):
    r"""Two networks agree on unlabelled scans, and each withstands the adversarial images of the other.

    With x^i the image that one step of the fast gradient sign method makes hard for network i,

        L = \sum_i L_sup(p_i, expert) + a \lambda(t) mean JSD(p_1, p_2) on the other samples
            + d \lambda(t) mean [ KL(p_1(x) || p_2(x^1)) + KL(p_2(x) || p_1(x^2)) ] / 2 on expert and on other samples.

    The first unsupervised term has the networks agree, the second keeps them from becoming equal: what misleads one
    must not mislead the other. The predictions p(x) in the second are constants.

    Deviations from the paper: ``docs/methods/DeepCoTraining.md``.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        agreement: a, its final weight; 0 leaves the term out.
        diversity: d, its final weight; 0 leaves the term out.
        epsilon: largest change of an intensity in an adversarial image, in units of the normalised image.
        ramp_length: fraction of the run after which both weights are reached.
        prediction: of the first network (paper), of the second, or the mean of both.
    """

    kind = "semi"
    paper = "Peng et al., Deep co-training for semi-supervised image segmentation, Pattern Recognition 2020"
    cost = "2 networks, each with an adversarial image of every sample"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        agreement: float = 0.5,
        diversity: float = 0.05,
        epsilon: float = 0.03,
        ramp_length: float = 0.4,
        prediction: Prediction = "first",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self.agreement, self.diversity, self.epsilon = agreement, diversity, epsilon
        self.ramp_length = ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``agreement`` and ``diversity``, each of both networks together."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        logits = [network(batch.image) for network in self.networks]
        ramp, terms = sigmoid_ramp(step.progress, self.ramp_length), {}
        if expert:
            losses = [cross_entropy_dice(each[expert], batch.label[expert]) for each in logits]
            terms["expert"] = torch.stack(losses).sum()
        log_p = torch.stack([each.float().log_softmax(1) for each in logits])
        if others and self.agreement:
            terms["agreement"] = self.agreement * ramp * jensen_shannon(log_p[:, others]).mean()
        if self.diversity:
            misled = self._misled(batch, log_p.detach())
            means = [misled[:, rows].mean() for rows in (expert, others) if rows]
            terms["diversity"] = self.diversity * ramp * torch.stack(means).mean()
        return terms

    def _misled(self, batch: Batch, log_p: Tensor) -> Tensor:
        """Divergence of each network, on the other's adversarial images, from the other: ``[2, B, *spatial]``."""
        label = batch.label.clone()
        label[batch.unsupervised] = IGNORE
        divergences = []
        for turn, (own, other) in enumerate([self.networks, self.networks[::-1]]):
            hard = adversarial_images(own, batch.image, label, self.epsilon)
            divergences.append(kl_divergence(log_p[turn].exp(), other(hard).float().log_softmax(1)))
        return torch.stack(divergences)
