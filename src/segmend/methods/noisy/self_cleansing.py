"""Deep self-cleansing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.cleansing import SMOOTH, batch_dice_loss, clean_labels, redrawn_label
from segmend.functional.dice import dice_loss_by_sample
from segmend.functional.losses import probabilities
from segmend.functional.ramps import linear_ramp, rounds
from segmend.functional.resampling import upsample
from segmend.functional.soft_labels import one_hot
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network

PSEUDO = "pseudo"


class SelfCleansing(Method):
    r"""Keeps the labels with small losses, and replaces the others by segmentations from prototypes of the object.

    The loss moves from the given labels y to cleansed ones y':

        L = (1 - \lambda) DSC(p, y) + \lambda DSC(p, y'),

    where \lambda rises from 0 at E1 (10 % of the run) to 1 at E2 (50 %). From E1 on, y' is recomputed every 1 % of the
    run, for each image and class. With R = {p > 0.5}, a mixture of two Gaussians is fitted to the losses 1 - 2 |R and
    y| / (|R| + |y|) of all images, another one to those of y'. A label of the component with the smaller mean is clean.
    If y is clean, y' = y; otherwise, if y' is clean, it stays; otherwise

        y' = [mean_m cos(f, q_m) > \mu]

    without fragments and pinholes. f are the features of the last decoder scale. The prototypes q_m are their means
    over R in cells of a K x K grid, of those cells only whose sum of cosines to all of them is at least \sigma times
    the largest such sum.

    Deviations from the paper: ``docs/methods/SelfCleansing.md``.

    Args:
        network: the network.
        warm_up: E1 as a fraction of the run.
        hand_over: E2 as a fraction of the run; from then on only y' counts.
        interval: fraction of the run from one cleansing to the next.
        cells: K, along every axis; 1 makes the mean feature of R the only prototype, the paper's LCM (avg).
        representative: \sigma, 0..1.
        alike: \mu, -1..1.
        centred: subtract the mean feature of the image first. Without (paper), all features of an under-trained network
            are similar, and labels grow without bound if cleansing starts too early.
        fragment: connected regions, and holes, smaller than this fraction of the object are removed.
        filtering: False replaces all labels, including clean ones: the paper's ablation without LFM.
        prototypes: False uses R itself as y', the paper's LCM (pred).
        features: sub-module to tap; the network's last decoder scale by default.
    """

    kind = "noisy"
    paper = "Dong et al., Deep self-cleansing for medical image segmentation with noisy labels, arXiv 2024"
    cost = "1 network; predicts all cases now and then"
    needs = Composition(any_labelled=16)
    layers = (PSEUDO,)

    def __init__(
        self,
        network: Network,
        *,
        warm_up: float = 0.1,
        hand_over: float = 0.5,
        interval: float = 0.01,
        cells: int = 64,
        representative: float = 0.7,
        alike: float = 0.7,
        centred: bool = False,
        fragment: float = 0.1,
        filtering: bool = True,
        prototypes: bool = True,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        self.warm_up, self.hand_over, self.interval = warm_up, hand_over, interval
        self.filtering = filtering
        redrawn = partial(redrawn_label, cells=cells, representative=representative, similarity=alike)
        self._redrawn = partial(redrawn, centred=centred, fragment=fragment, prototypes=prototypes)
        self._taps = FeatureTaps(network, (features,) if features else network.decoder_scales[-1:])

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``given`` and ``pseudo``, if their weights are above 0."""
        rows = batch.labelled
        if not rows:
            return {}
        predicted = probabilities(self.network(batch.image[rows]))
        share = linear_ramp(step.progress, self.warm_up, self.hand_over)
        weighted = {"given": (1 - share, batch.label), PSEUDO: (share, batch.layers[PSEUDO])}
        losses = weighted.items()
        return {name: weight * batch_dice_loss(predicted, label[rows]) for name, (weight, label) in losses if weight}

    def revises(self, step: Step) -> bool:
        """At E1, and once in every interval after it."""
        return self._cleansings(step) > self._cleansings(Step(step.index - 1, step.total))

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Evaluate the losses of all images first, and then replace the labels of images without a clean one."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        for case, clean in zip(labelled, self._clean(labelled), strict=True):
            label = self._cleansed(case, *clean)
            if not case.was_revised(PSEUDO) or not label.equal(case.layer(PSEUDO)):
                yield Revision(case.name, {PSEUDO: label})

    def _cleansings(self, step: Step) -> int:
        """How many there have been when this step begins."""
        return rounds(step.progress, self.warm_up, self.interval)

    def _clean(self, cases: Sequence[LabelledCase]) -> Sequence[Tensor]:
        """Whether given and cleansed label are clean, ``[2, images, C - 1]`` for each case."""
        losses = [self._losses(case) for case in cases]
        images = [each.shape[1] for each in losses]
        made = torch.tensor([case.was_revised(PSEUDO) for case in cases]).repeat_interleave(torch.tensor(images))
        given, pseudo = torch.cat(losses, 1)
        return torch.split(clean_labels(given, pseudo, made) & self.filtering, images, 1)

    def _losses(self, case: LabelledCase) -> Tensor:
        """Dice losses of given and cleansed label, ``[2, images, C - 1]``."""
        seen = (case.predict_map(self.predict)[1:] > 0.5) & (case.given != IGNORE)
        masks = _masks(case, len(seen))
        return torch.stack([dice_loss_by_sample(case.images(seen).float(), mask, SMOOTH) for mask in masks])

    def _cleansed(self, case: LabelledCase, clean_given: Tensor, clean_pseudo: Tensor) -> Tensor:
        """The new label of a case, from flags ``[images, C - 1]``."""
        foreground = clean_given.shape[1]
        given, pseudo = _masks(case, foreground)
        over_voxels = (..., *[None] * (given.ndim - 2))
        kept = torch.where(clean_given[over_voxels], given, pseudo * clean_pseudo[over_voxels])
        scores = torch.where(kept > 0, 1.0, -torch.inf)
        redrawn = ~(clean_given | clean_pseudo)
        if redrawn.any():
            maps = case.images(case.predict_map(self._probabilities_and_features))
            for image, index in redrawn.nonzero().tolist():
                scores[image, index] = self._redrawn(maps[image, index + 1], maps[image, foreground + 1 :])
        best, index = scores.max(1)
        label = case.from_images(torch.where(best > -torch.inf, index + 1, 0))
        return label.masked_fill(case.given == IGNORE, IGNORE).to(torch.uint8)

    def _probabilities_and_features(self, image: Tensor) -> Tensor:
        """Both as channels of one map ``[B, C + L, *spatial]``."""
        with self._taps.recording() as tapped:
            predicted = self.predict(image)
        return torch.cat([predicted, upsample(tapped[0].float(), image.shape[2:])], 1)


def _masks(case: LabelledCase, foreground: int) -> list[Tensor]:
    """Given and cleansed mask of each foreground class, ``[images, C - 1, *spatial]`` of zeros and ones."""
    labels = (case.given, case.layer(PSEUDO))
    return [case.images(one_hot(label.unsqueeze(0), foreground + 1)[0, 1:]) for label in labels]
