"""Annotation-efficient deep learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from operator import itemgetter

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import dice_cross_entropy_by_sample, label_dice
from segmend.functional.geometry import random_turn
from segmend.functional.morphology import largest_component
from segmend.functional.selection import smallest
from segmend.functional.soft_labels import sharpen
from segmend.functional.uncertainty import confidence
from segmend.functional.views import mean_over_warps
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.modes import evaluating
from segmend.methods.components.peers import Predictor, predict_by, reinitialised_copy
from segmend.networks import Network


class AIDE(Method):
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

    Implementation notes. An epoch is one of ``epochs`` equal parts of the run, whatever its length. The paper's code
    trains on slices, resized and not cut; here they are the patches of the run, 2D or 3D, and copies are rotated in the
    plane of the first two axes. Whole cases are ranked, without the expert ones, by the labels that the network learns
    from, which the paper says and only one of the four public scripts does. The label of the prediction in Eq. 2 is a
    misprint, and whose pseudo label is meant is not said: it is the other network's, as in the code. The paper sharpens
    by a softmax of probabilities, which flattens them; with its T = 1 the power form changes nothing. Pseudo labels are
    made in evaluation mode (half of the public scripts). A segmentation without any object corrects nothing (two of the
    scripts), since an empty label would stay empty. The public code is ``consistency=10 weigh_by_confidence=true``, and
    ``largest_component=true`` for liver and prostate. The paper keeps the pair of networks with the highest training
    Dice; here the last pair counts, since Dice is measured on labels that the networks have rewritten. With several
    objects, Dice is their mean. Voxels without a label have pseudo labels too.

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
    needs = Composition(mixed=4)
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
        prediction: Predictor = "mean",
    ) -> None:
        super().__init__(network)
        self.peer = reinitialised_copy(network)
        self.epochs, self.warm_up, self.correct_every = epochs, warm_up, correct_every
        self.update_ratio, self.largest_component = update_ratio, largest_component
        self.empty_corrections = empty_corrections
        self.augmentations, self.largest_angle, self.temperature = augmentations, largest_angle, temperature
        self.consistency, self.weigh_by_confidence, self.alpha = consistency, weigh_by_confidence, alpha
        self.prediction: Predictor = prediction

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``supervised`` and ``consistency``, each the sum of both networks'."""
        rows = batch.rows(Quality.EXPERT, Quality.NOISY)
        if not rows:
            return {}
        image, networks = batch.image[rows], (self.network, self.peer)
        labels = [batch.layers[layer][rows] for layer in self.layers]
        logits = [network(image) for network in networks]
        losses = [dice_cross_entropy_by_sample(*each, self.alpha) for each in zip(logits, labels, strict=True)]
        trusted = [_smaller_half(*each) for each in zip(losses, labels, strict=True)]
        ramp = self._ramp(step)
        supervised, consistency = [], []
        for own, loss, peer, by_peer in zip(logits, losses, networks[::-1], trusted[::-1], strict=True):
            supervised.append(masked_mean(loss, by_peer) + (1 - ramp) * masked_mean(loss, ~by_peer))
            consistency.append(self._inconsistency(own[~by_peer], peer, image[~by_peer]))
        weight = self.consistency * ramp
        return {"supervised": torch.stack(supervised).sum(), "consistency": weight * torch.stack(consistency).sum()}

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities of the selected network, or of both."""
        return predict_by(self.prediction, self.network, self.peer, image)

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
            label = case.maps(lambda image: network(image).float().softmax(1)).argmax(0).to(torch.uint8)
            if self.largest_component:
                label = torch.from_numpy(largest_component(label.numpy()))
            if label.any() or self.empty_corrections:
                yield label_dice(label, case.layer(own)), Revision(case.name, other, label)

    def _inconsistency(self, logits: Tensor, peer: Network, image: Tensor) -> Tensor:
        """Mean squared difference to the other network's pseudo labels; 0 without samples."""
        if not len(image):
            return logits.sum()
        pseudo_label = self.pseudo_label(peer, image)
        difference = squared_difference(logits.float().softmax(1), pseudo_label)
        return (difference * confidence(pseudo_label) if self.weigh_by_confidence else difference).mean()

    def _epoch(self, step: Step) -> int:
        """Counted from 0, in whole numbers so that no step falls short of its epoch."""
        return step.index * self.epochs // step.total

    def _ramp(self, step: Step) -> float:
        return min((self._epoch(step) / self.warm_up) ** 2, 1.0) if self.warm_up else 1.0


def _smaller_half(losses: Tensor, label: Tensor) -> Tensor:
    """The samples with the smaller losses, at least one; those without any label come last."""
    unlabelled = (label == IGNORE).flatten(1).all(1)
    return smallest(losses.masked_fill(unlabelled, torch.inf), max(len(losses) // 2, 1))
