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
from segmend.functional.losses import probabilities
from segmend.functional.perturbations import beta_shares, clipped_gaussian, mixed, mixed_targets
from segmend.functional.ramps import linear_ramp, rounds
from segmend.functional.selection import low_loss_chances
from segmend.functional.soft_labels import one_hot, sharpen
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Revision, Step
from segmend.methods._two_networks import Prediction, TwoNetworks
from segmend.networks import Network

_VIEWS = 2


class DivideMix(TwoNetworks):
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

    Deviations from the paper: ``docs/methods/DivideMix.md``.

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
    needs = Composition(any_labelled=4)
    values = ("clean_by_first", "clean_by_second")

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
        prediction: Prediction = "mean",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self.warm_up, self.interval, self.ramp_length = warm_up, interval, ramp_length
        self.weight, self.temperature, self.alpha, self.noise = weight, temperature, alpha, noise

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``warm_up``, or ``clean`` and ``other`` if there are such samples; each the sum of both networks'."""
        rows = batch.labelled
        if not rows:
            return {}
        image, label, networks = batch.image[rows], batch.label[rows], self.networks
        if not self._divisions(step):
            return {"warm_up": torch.stack([cross_entropy_dice(network(image), label) for network in networks]).sum()}
        views = torch.cat([clipped_gaussian(image, self.noise) for _ in range(_VIEWS)])
        guesses = torch.stack([_guess(network, views) for network in networks])
        ramp = linear_ramp(step.progress, self.warm_up, self.warm_up + self.ramp_length)
        terms: dict[str, list[Tensor]] = {"clean": [], "other": []}
        for network, guess, by_other in zip(networks, guesses, self.values[::-1], strict=True):
            trust = batch.values[by_other][rows]
            target = self._target(label, trust, guess, guesses.mean(0))
            logits, target = self._mixed(network, views, target)
            is_clean = (trust > 0.5).repeat(_VIEWS)
            clean, others = (mask.nonzero().squeeze(1) for mask in (is_clean, ~is_clean))
            if len(clean):
                terms["clean"].append(soft_cross_entropy_dice(logits[clean], target[clean]))
            if len(others):
                difference = squared_difference(probabilities(logits[others]), target[others])
                terms["other"].append(self.weight * ramp * masked_mean(difference, target[others].sum(1) > 0))
        return {name: torch.stack(of_both).sum() for name, of_both in terms.items() if of_both}

    def revises(self, step: Step) -> bool:
        """After the warm-up, and once in every interval after it."""
        return self._divisions(step) > self._divisions(Step(step.index - 1, step.total))

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Record the probability w that the label of each slice or case is clean, by each network."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        for network, name in zip(self.networks, self.values, strict=True):
            losses = [_losses(network, case) for case in labelled]
            chances = torch.split((100 * low_loss_chances(torch.cat(losses))).round() / 100, [*map(len, losses)])
            for case, clean in zip(labelled, chances, strict=True):
                yield Revision(case.name, values={name: clean.tolist()})

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
    return torch.stack(probabilities(network(views)).chunk(_VIEWS)).mean(0)


def _losses(network: Network, case: LabelledCase) -> Tensor:
    """1 - Dice of each slice, where the network sees slices, or of the case: ``[images]``."""
    predicted = case.predict_map(lambda image: probabilities(network(image))).argmax(0)
    pairs = zip(case.images(predicted), case.images(case.given), strict=True)
    return torch.tensor([1 - label_dice(*pair) for pair in pairs])
