"""DivideMix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice, label_dice, soft_cross_entropy_dice
from segmend.functional.perturbations import beta_shares, clipped_gaussian, mixed, mixed_targets
from segmend.functional.ramps import linear_ramp, rounds
from segmend.functional.selection import low_loss_chances
from segmend.functional.soft_labels import one_hot, sharpen
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.peers import Predictor, predict_by, reinitialised_copy
from segmend.networks import Network

_PERCENT = 100
_VIEWS = 2


class DivideMix(Method):
    r"""Two networks find clean labels for each other, and treat all other cases as unlabelled.

    After a warm-up with L_sup, and then again and again, each network segments all labelled cases. A mixture of two
    Gaussians is fitted to the losses 1 - Dice of its segmentations; w_i is the probability that case i belongs to
    the lower one. By the w of the *other* network, a network calls labels with w > 0.5 clean, and takes as targets,
    of two views of each sample in the batch,

        clean:  w y + (1 - w) \bar p, with \bar p the mean prediction of the views by itself,
        other:  \bar p, the mean prediction of the views by both networks,

    both sharpened by p^(1/T). It then mixes each view with a random one, by \lambda ~ Beta(\alpha, \alpha) but at least
    0.5, the same for images and targets, and minimises

        L = L_sup(clean) + \lambda_u g(t) mean (p - target)^2 (other),

    with g increasing linearly from 0 after the warm-up. The mean of both networks predicts.

    Implementation notes. The paper classifies and looks at the cross-entropy of images; here an image is a slice
    where the network sees slices, and a whole case otherwise, and its loss is one in 0..1 that does not depend on how
    much background there is. Safeguards of the mixture that the paper does not have are described in
    ``functional.mixture``. Epochs are fractions of the run: a warm-up of 30 and a ramp of 16 out of 300. Both networks
    learn in each step, not in turn epoch by epoch, and of one batch, which may lack clean or other samples. Views
    differ by noise alone, so that voxels stay in place. L_sup is that of all methods that are compared on the left
    atrium. The paper's penalty on the mean prediction for being far from a uniform one is left out: it would push every
    object to a fraction of 1/C. \lambda_u was 25 (for squares of ten classes or more) or 0 in the paper, by the amount
    of noise. Voxels without a label take no part.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        warm_up: fraction of the run in which all labels are trusted.
        interval: fraction of the run from one division to the next.
        ramp_length: fraction of the run in which the weight of other samples increases after the warm-up.
        weight: \lambda_u.
        temperature: T.
        alpha: \alpha.
        noise: standard deviation of the views' noise in units of the normalised image; clipped at twice that.
        prediction: the mean of both networks (paper), or of one.
    """

    kind = "noisy"
    paper = "Li et al., DivideMix: Learning with noisy labels as semi-supervised learning, ICLR 2020"
    cost = "2 networks, each 2 views passed twice; predicts all cases now and then"
    needs = Composition(mixed=4)
    layers = carried = ("trust_of_first", "trust_of_second")

    def __init__(
        self,
        network: Network,
        *,
        warm_up: float = 0.1,
        interval: float = 0.1,
        ramp_length: float = 0.05,
        weight: float = 25.0,
        temperature: float = 0.5,
        alpha: float = 4.0,
        noise: float = 0.1,
        prediction: Predictor = "mean",
    ) -> None:
        super().__init__(network)
        self.peer = reinitialised_copy(network)
        self.warm_up, self.interval, self.ramp_length = warm_up, interval, ramp_length
        self.weight, self.temperature, self.alpha, self.noise = weight, temperature, alpha, noise
        self.prediction: Predictor = prediction

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``warm_up``, or ``clean`` and ``other`` if there are such samples; each the sum of both networks'."""
        rows = batch.rows(Quality.EXPERT, Quality.NOISY)
        if not rows:
            return {}
        image, label, networks = batch.image[rows], batch.label[rows], (self.network, self.peer)
        if not self._divisions(step):
            return {"warm_up": torch.stack([cross_entropy_dice(network(image), label) for network in networks]).sum()}
        views = torch.cat([clipped_gaussian(image, self.noise) for _ in range(_VIEWS)])
        guesses = torch.stack([_guess(network, views) for network in networks])
        ramp = linear_ramp(step.progress, self.warm_up, self.warm_up + self.ramp_length)
        terms: dict[str, list[Tensor]] = {"clean": [], "other": []}
        for network, guess, layer in zip(networks, guesses, self.layers[::-1], strict=True):
            trust = _trust(batch.layers[layer][rows])
            target = self._target(label, trust, guess, guesses.mean(0))
            logits, target = self._mixed(network, views, target)
            clean = (trust > 0.5).repeat(_VIEWS)
            if clean.any():
                terms["clean"].append(soft_cross_entropy_dice(logits[clean], target[clean]))
            if not clean.all():
                terms["other"].append(self.weight * ramp * _squared_difference(logits[~clean], target[~clean]))
        return {name: torch.stack(of_both).sum() for name, of_both in terms.items() if of_both}

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities of both networks, or of the selected one."""
        return predict_by(self.prediction, self.network, self.peer, image)

    def revises(self, step: Step) -> bool:
        """After the warm-up, and once in every interval after it."""
        return self._divisions(step) > self._divisions(Step(step.index - 1, step.total))

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Record how much each network trusts each label, in percent; one number per slice or case."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        for network, layer in zip((self.network, self.peer), self.layers, strict=True):
            losses = [_losses(network, case) for case in labelled]
            chances = torch.split(low_loss_chances(torch.cat(losses)), [len(each) for each in losses])
            for case, chance in zip(labelled, chances, strict=True):
                trust = (_PERCENT * chance).round().to(torch.uint8).expand(case.given.shape)
                if not trust.equal(case.layer(layer)):
                    yield Revision(case.name, layer, trust)

    def _divisions(self, step: Step) -> int:
        """How many there have been when this step begins."""
        return rounds(step.progress, self.warm_up, self.interval)

    def _target(self, label: Tensor, trust: Tensor, own: Tensor, both: Tensor) -> Tensor:
        """Targets ``[B, C, *spatial]`` from what is guessed; 0 in all classes where the label is ``IGNORE``."""
        known = (label != IGNORE).unsqueeze(1)
        share = trust.view(-1, *[1] * (own.ndim - 1))
        target = torch.where(share > 0.5, torch.lerp(own, one_hot(label, own.shape[1]), share * known), both)
        return sharpen(target, self.temperature) * known

    def _mixed(self, network: Network, views: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and targets of views that are mixed with others, but remain mostly what they are."""
        partners, shares = torch.randperm(len(views)), beta_shares(views, self.alpha)
        shares = torch.maximum(shares, 1 - shares)
        targets = target.repeat(_VIEWS, *[1] * (target.ndim - 1))
        return network(mixed(views, partners, shares)), mixed_targets(targets, partners, shares)


@torch.no_grad()
def _guess(network: Network, views: Tensor) -> Tensor:
    """Mean prediction of the views of each sample, ``[B, C, *spatial]``."""
    probabilities = network(views).float().softmax(1)
    return torch.stack(probabilities.chunk(_VIEWS)).mean(0)


def _trust(layer: Tensor) -> Tensor:
    """The constant value of each sample's layer, as a fraction: ``[B]``."""
    return layer.masked_fill(layer == IGNORE, 0).flatten(1).amax(1) / _PERCENT


def _squared_difference(logits: Tensor, target: Tensor) -> Tensor:
    return masked_mean(squared_difference(logits.float().softmax(1), target), target.sum(1) > 0)


def _losses(network: Network, case: LabelledCase) -> Tensor:
    """1 - Dice of each slice, where the network sees slices, or of the case: ``[images]``."""
    predicted = case.maps(lambda image: network(image).float().softmax(1)).argmax(0)
    pairs = zip(predicted.unbind(-1), case.given.unbind(-1), strict=True) if case.sliced else [(predicted, case.given)]
    return torch.tensor([1 - label_dice(*pair) for pair in pairs])
