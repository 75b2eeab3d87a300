"""Deep self-cleansing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import dice_loss_by_sample
from segmend.functional.morphology import without_small_holes, without_small_regions
from segmend.functional.prototypes import prototype_similarity
from segmend.functional.ramps import linear_ramp, rounds
from segmend.functional.resampling import upsample
from segmend.functional.selection import low_losses
from segmend.functional.soft_labels import one_hot
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network

PSEUDO = "pseudo"

_SMOOTH = 1e-5
"""Smoothing term of the Dice losses; it only affects empty masks."""

_DISJOINT = 0.999
"""Dice loss above which two masks hardly overlap."""


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

    Implementation notes. The paper's text fits both mixtures to the losses of y'; the first one must look at y. A
    cleansed label that was never made is noisy, and so is one that is disjoint from R: it was left empty when the
    network detected nothing. Safeguards of the mixture that the paper does not have are described in
    ``functional.mixture``; images where R and the label agree in every voxel, most often both empty, are clean and
    excluded from it. The paper has one sigmoid, and does not say how it treats three organs: here each class is
    segmented against the rest, and a voxel in several classes is assigned to a label that is kept, or else to the most
    similar class. DSC in training is the soft form over the whole batch: for single images, one without the object
    would have no gradient. An image is a slice where the network sees slices, and a whole case otherwise. No label
    counts as trusted, as in the paper.

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
    needs = Composition(mixed=16)
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
        self.cells, self.representative, self.alike = cells, representative, alike
        self.centred, self.fragment = centred, fragment
        self.filtering, self.prototypes = filtering, prototypes
        self._taps = FeatureTaps(network, (features,) if features else network.decoder_scales[-1:])

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``given`` and ``pseudo``, if their weights are above 0."""
        rows = batch.rows(Quality.EXPERT, Quality.NOISY)
        if not rows:
            return {}
        probabilities = self.network(batch.image[rows]).float().softmax(1)
        weight = linear_ramp(step.progress, self.warm_up, self.hand_over)
        terms = {}
        if weight < 1:
            terms["given"] = (1 - weight) * _dice_loss(probabilities, batch.label[rows])
        if weight > 0:
            terms[PSEUDO] = weight * _dice_loss(probabilities, batch.layers[PSEUDO][rows])
        return terms

    def revises(self, step: Step) -> bool:
        """At E1, and once in every interval after it."""
        return self._cleansings(step) > self._cleansings(Step(step.index - 1, step.total))

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Evaluate the losses of all images first, and then replace the labels of images without a clean one."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        for case, clean in zip(labelled, self._clean(labelled), strict=True):
            label = self._cleansed(case, *clean)
            if not case.rewritten(PSEUDO) or not label.equal(case.layer(PSEUDO)):
                yield Revision(case.name, PSEUDO, label)

    def _cleansings(self, step: Step) -> int:
        """How many there have been when this step begins."""
        return rounds(step.progress, self.warm_up, self.interval)

    def _clean(self, cases: Sequence[LabelledCase]) -> Sequence[Tensor]:
        """Whether given and cleansed label are clean, ``[2, images, C - 1]`` for each case."""
        losses = [self._losses(case) for case in cases]
        images = [each.shape[1] for each in losses]
        given, pseudo = torch.cat(losses, 1)
        made = torch.tensor([case.rewritten(PSEUDO) for case in cases]).repeat_interleave(torch.tensor(images))
        clean_given, clean_pseudo = (
            torch.stack([low_losses(of_class) for of_class in of_layer.T], 1) for of_layer in (given, pseudo)
        )
        clean = torch.stack([clean_given, clean_pseudo & made.unsqueeze(1) & (pseudo < _DISJOINT)])
        return torch.split(clean & self.filtering, images, 1)

    def _losses(self, case: LabelledCase) -> Tensor:
        """Dice losses of given and cleansed label, ``[2, images, C - 1]``."""
        seen = case.maps(self.predict)[1:] > 0.5
        prediction = _images(seen & (case.given != IGNORE), case.sliced).float()
        masks = (_masks(label, len(seen), case.sliced) for label in (case.given, case.layer(PSEUDO)))
        return torch.stack([dice_loss_by_sample(prediction, mask, _SMOOTH) for mask in masks])

    def _cleansed(self, case: LabelledCase, clean_given: Tensor, clean_pseudo: Tensor) -> Tensor:
        """The new label of a case, from flags ``[images, C - 1]``."""
        foreground = clean_given.shape[1]
        given, pseudo = (_masks(label, foreground, case.sliced) for label in (case.given, case.layer(PSEUDO)))
        over_voxels = (..., *[None] * (given.ndim - 2))
        kept = torch.where(clean_given[over_voxels], given, pseudo * clean_pseudo[over_voxels])
        scores = torch.where(kept > 0, 1.0, -torch.inf)
        redrawn = ~(clean_given | clean_pseudo)
        if redrawn.any():
            maps = _images(case.maps(self._probabilities_and_features), case.sliced)
            for image, index in redrawn.nonzero().tolist():
                scores[image, index] = self._redrawn(maps[image, index + 1], maps[image, foreground + 1 :])
        best, index = scores.max(1)
        label = torch.where(best > -torch.inf, index + 1, 0)
        label = label.movedim(0, -1) if case.sliced else label.squeeze(0)
        return label.masked_fill(case.given == IGNORE, IGNORE).to(torch.uint8)

    def _redrawn(self, probability: Tensor, features: Tensor) -> Tensor:
        """Confidence that voxels ``[*spatial]`` belong to an object; minus infinity outside its new label."""
        seen = probability > 0.5
        if not self.prototypes:
            return probability.where(seen, -torch.inf)
        if self.centred:
            features = features - features.mean(tuple(range(1, features.ndim)), keepdim=True)
        found = prototype_similarity(features, seen, self.cells, self.representative)
        mask = without_small_holes(without_small_regions(found > self.alike, self.fragment), self.fragment)
        return found.where(mask, -torch.inf)

    def _probabilities_and_features(self, image: Tensor) -> Tensor:
        """Both as channels of one map ``[B, C + L, *spatial]``."""
        with self._taps.recording() as tapped:
            probabilities = self.predict(image)
        return torch.cat([probabilities, upsample(tapped[0].float(), image.shape[2:])], 1)


def _dice_loss(probabilities: Tensor, label: Tensor) -> Tensor:
    """Soft Dice loss of the batch as one region, averaged over the foreground classes."""
    known = (label != IGNORE).unsqueeze(1)
    pair = (probabilities * known, one_hot(label, probabilities.shape[1]))
    prediction, target = (each.movedim(1, 0).flatten(1).unsqueeze(0) for each in pair)
    return dice_loss_by_sample(prediction, target, _SMOOTH)[:, 1:].mean()


def _images(maps: Tensor, sliced: bool) -> Tensor:
    """Maps ``[K, *spatial]`` of a case as ``[images, K, *spatial]``: its slices, or the case by itself."""
    return maps.movedim(-1, 0) if sliced else maps.unsqueeze(0)


def _masks(label: Tensor, foreground: int, sliced: bool) -> Tensor:
    """Mask of each foreground class in each image, ``[images, C - 1, *spatial]`` of zeros and ones."""
    return _images(one_hot(label.unsqueeze(0), foreground + 1)[0, 1:], sliced)
