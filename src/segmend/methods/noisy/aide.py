"""Annotation-efficient deep learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from operator import itemgetter

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import dice_cross_entropy_by_sample, label_dice
from segmend.functional.geometry import random_turn
from segmend.functional.losses import probabilities
from segmend.functional.morphology import largest_component
from segmend.functional.selection import smaller_half
from segmend.functional.soft_labels import sharpen
from segmend.functional.uncertainty import confidence
from segmend.functional.views import mean_over_warps
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Revision, Step
from segmend.methods._two_networks import Prediction, TwoNetworks
from segmend.methods.components.modes import evaluating
from segmend.networks import Network


class AIDE(TwoNetworks):
    r"""Two networks find noisy labels for each other: first to leave them out of the loss, and later to correct them.

    Local filtering. In each batch, network i trusts the half S_i of the samples with the smallest loss L_seg, which is
    the plain Dice loss plus \alpha times the cross-entropy. The other network learns from the labels of S_i; for the
    rest it is trained to agree more and more with a pseudo label \hat p_i, which is the mean prediction of network i
    over K rotated and mirrored copies, sharpened by p^(1/T):

        L = sum_{i, j != i} mean_{S_i} L_seg(p_j, y_j) + (1 - \lambda_q) mean_{not S_i} L_seg(p_j, y_j)
                            + w \lambda_q mean_{not S_i} (p_j - \hat p_i)^2,      \lambda_q = min((q / q_w)^2, 1)

    in epoch q. Global correction. Each network has its own labels y_j, which begin as the given ones. After each of the
    first q_w epochs and then after every tenth, network i segments all training cases; the 25 % in which it agrees
    least with y_i (smallest Dice) get its segmentation as the label of the *other* network. Expert labels stay.

    Deviations from the paper: ``docs/methods/AIDE.md``.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        epochs: parts of the run.
        warm_up: q_w, in epochs.
        correct_every: epochs from one global correction to the next when the warm-up is over.
        update_ratio: fraction of the labelled cases whose labels each network may correct at a time.
        augmentations: K.
        largest_angle: maximum rotation of the copies, in degrees.
        temperature: T.
        consistency: w.
        weigh_by_confidence: weight the squared difference of each voxel by the confidence of the pseudo label.
        alpha: \alpha.
        largest_component: a correction keeps the largest component of each object only.
        empty_corrections: let a segmentation without any object become a label.
        prediction: of the first network, of the second, or the mean of both; the paper does not say.
    """

    kind = "noisy"
    paper = "Wang et al., Annotation-efficient deep learning for automatic medical image segmentation, Nat Commun 2021"
    cost = "2 networks, each K passes more of half the batch; predicts all cases now and then"
    needs = Composition(any_labelled=4)
    layers = ("first", "second")
    needs_initial_labels = True

    def __init__(
        self,
        network: Network,
        *,
        epochs: int = 100,
        warm_up: int = 20,
        correct_every: int = 10,
        update_ratio: float = 0.25,
        augmentations: int = 4,
        largest_angle: float = 60.0,
        temperature: float = 1.0,
        consistency: float = 1.0,
        weigh_by_confidence: bool = False,
        alpha: float = 1.0,
        largest_component: bool = False,
        empty_corrections: bool = False,
        prediction: Prediction = "mean",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self.epochs, self.warm_up, self.correct_every, self.update_ratio = epochs, warm_up, correct_every, update_ratio
        self.largest_component, self.empty_corrections = largest_component, empty_corrections
        self.augmentations, self.largest_angle, self.temperature = augmentations, largest_angle, temperature
        self.consistency, self.weigh_by_confidence, self.alpha = consistency, weigh_by_confidence, alpha

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``supervised`` and ``consistency``, each the sum of both networks'."""
        rows = batch.labelled
        if not rows:
            return {}
        image, networks = batch.image[rows], self.networks
        labels = [batch.layers[layer][rows] for layer in self.layers]
        logits = [network(image) for network in networks]
        losses = [dice_cross_entropy_by_sample(*each, self.alpha) for each in zip(logits, labels, strict=True)]
        trusted = [smaller_half(*each) for each in zip(losses, labels, strict=True)]
        ramp = min((self._epoch(step) / self.warm_up) ** 2, 1.0) if self.warm_up else 1.0
        supervised, consistency = [], []
        for own, loss, peer, (by_peer, others) in zip(logits, losses, networks[::-1], trusted[::-1], strict=True):
            is_trusted = torch.zeros_like(loss, dtype=torch.bool).index_fill(0, by_peer, True)
            supervised.append(masked_mean(loss, is_trusted) + (1 - ramp) * masked_mean(loss, ~is_trusted))
            consistency.append(self._inconsistency(own[others], peer, image[others]))
        weight = self.consistency * ramp
        return {"supervised": torch.stack(supervised).sum(), "consistency": weight * torch.stack(consistency).sum()}

    @torch.no_grad()
    def pseudo_label(self, network: Network, image: Tensor) -> Tensor:
        """A network's sharpened mean prediction over random copies: ``[B, C, *spatial]``, summing to 1."""
        warps = [random_turn(len(image), image.ndim - 2, self.largest_angle) for _ in range(self.augmentations)]
        with evaluating(network):
            return sharpen(mean_over_warps(network, image, warps), self.temperature)

    def revises(self, step: Step) -> bool:
        """Whether the epoch that has just ended is one of the warm-up, or a tenth one."""
        before = Step(max(step.index - 1, 0), step.total)
        ended = range(self._epoch(before) + 1, self._epoch(step) + 1)
        return any(number <= self.warm_up or number % self.correct_every == 0 for number in ended)

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Each network's segmentations of the cases in which it agrees least with its labels, for the other network."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        noisy = [case for case in labelled if case.quality is Quality.NOISY]
        count = int(self.update_ratio * len(labelled))
        for network, own, other in ((self.network, *self.layers), (self.peer, *self.layers[::-1])):
            worst = nsmallest(count, self._agreement(network, own, other, noisy), key=itemgetter(0))
            yield from (revision for _, revision in worst)

    def _agreement(
        self, network: Network, own: str, other: str, cases: Iterable[LabelledCase]
    ) -> Iterator[tuple[float, Revision]]:
        """Dice of a network's segmentation with its labels, and the segmentation as a label of the other layer."""
        for case in cases:
            label = case.predict_map(lambda image: probabilities(network(image))).argmax(0).to(torch.uint8)
            if self.largest_component:
                label = torch.from_numpy(largest_component(label.numpy()))
            if label.any() or self.empty_corrections:
                yield label_dice(label, case.layer(own)), Revision(case.name, {other: label})

    def _inconsistency(self, logits: Tensor, peer: Network, image: Tensor) -> Tensor:
        """Mean squared difference to the other network's pseudo labels; 0 without samples."""
        if not len(image):
            return logits.sum()
        pseudo_label = self.pseudo_label(peer, image)
        difference = squared_difference(probabilities(logits), pseudo_label)
        return (difference * confidence(pseudo_label) if self.weigh_by_confidence else difference).mean()

    def _epoch(self, step: Step) -> int:
        """Counted from 0, in whole numbers so that no step falls short of its epoch."""
        return step.index * self.epochs // step.total
