"""Superpixel-guided iterative learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import joint_loss
from segmend.functional.losses import probabilities
from segmend.functional.superpixels import refined_regions, region_means, region_statistics, superpixels
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Revision, Step
from segmend.methods._two_networks import Prediction, TwoNetworks, mean_probabilities
from segmend.methods.components.small_loss import SmallLossSelection
from segmend.networks import Network

_REFINED, _SUPERPIXELS = "refined", "superpixels"


class Superpixel(TwoNetworks):
    r"""Two networks select and correct labels per superpixel instead of per voxel.

    Before the first step every image is cut into SLIC superpixels. Let \bar p_i be a network's probabilities,
    averaged over each superpixel, and

        \ell(p_1, p_2) = (1 - \lambda) (CE(p_1, y) + CE(p_2, y)) + \lambda (KL(p_1 || p_2) + KL(p_2 || p_1)).

    For each label, the voxels with the smallest \ell(\bar p_1, \bar p_2) are selected; their fraction decreases from 1
    to 1 - \tau. Both networks minimise the mean of \ell(p_1, p_2) over them. Once in the run labels are refined: with
    \bar p = (\bar p_1 + \bar p_2) / 2, among the voxels labelled k in all scans, the fraction \tau with the lowest \bar
    p_k gets the most probable other label where \bar p_k < 0.5. After that 1 - \tau, the precision of labels, counts as
    1.1 times as high, up to a cap.

    Deviations from the paper: ``docs/methods/Superpixel.md``.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        size: voxels of a superpixel; at most 32,000 of them make up a scan (a slice, where the network sees slices).
        compactness: of superpixels; the higher, the more cubic they are; the lower, the more they follow the image.
        noise_rate: \tau, one for all labels or one for each class, background first.
        co_lambda: \lambda, 0..1.
        ramp_length: fraction of the run after which the fraction \tau is left out.
        refine_at: fraction of the run after which labels are refined; 1 disables refinement.
        correction: fraction of \tau up to which voxels are relabelled.
        cap: up to which the precision of labels may rise.
        prediction: of the first network (paper), of the second, or the mean of both.
    """

    kind = "noisy"
    paper = "Li et al., Superpixel-guided iterative learning from noisy labels for medical images, MICCAI 2021"
    cost = "2 networks; SLIC at first, predicts all cases once"
    needs = Composition(any_labelled=4)
    layers = (_REFINED,)
    maps = (_SUPERPIXELS,)

    def __init__(
        self,
        network: Network,
        *,
        size: int = 160,
        compactness: float = 0.1,
        noise_rate: float | Sequence[float] = 0.2,
        co_lambda: float = 0.65,
        ramp_length: float = 0.025,
        refine_at: float = 0.5,
        correction: float = 1.0,
        cap: float = 0.9,
        prediction: Prediction = "first",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self.size, self.compactness = size, compactness
        self.co_lambda, self.refine_at, self.correction = co_lambda, refine_at, correction
        select = partial(SmallLossSelection, network, ramp_length=ramp_length, exponent=1, scope="class")
        self._selection = select(noise_rate=noise_rate)
        risen = [max(1 - rate, min(1.1 * (1 - rate), cap)) for rate in self._selection.rates]
        self._later_selection = select(noise_rate=[1 - each for each in risen])

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``supervised`` and ``agreement``, of both networks together."""
        rows = batch.labelled
        if not rows:
            return {}
        image, label = batch.image[rows], batch.layers[_REFINED][rows]
        regions = batch.maps[_SUPERPIXELS][rows] + 1  # what lies outside the scan is a region too
        first, second = self.network(image), self.peer(image)
        with torch.no_grad():
            pooled, of_peer = _pooled([first, second], regions)
            scores = torch.stack(joint_loss(pooled, of_peer, label, self.co_lambda)).sum(0)
        selection = self._later_selection if self._refined(step) else self._selection
        chosen = selection.select(scores, label, label != IGNORE, step.progress)
        supervised, agreement = joint_loss(first, second, label, self.co_lambda)
        return {"supervised": masked_mean(supervised, chosen), "agreement": masked_mean(agreement, chosen)}

    def revises(self, step: Step) -> bool:
        """Before the first step, which needs superpixels, and once to refine labels."""
        return step.index == 0 or (self._refined(step) and not self._refined(Step(step.index - 1, step.total)))

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Superpixels of all labelled cases at first, their refined labels later."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        if step.index:
            yield from self._refine(labelled)
            return
        for case in labelled:
            images = case.images(case.predict_map(lambda window: window))
            regions = [superpixels(image, self.size, self.compactness) for image in images]
            yield Revision(case.name, maps={_SUPERPIXELS: case.from_images(regions)})

    def _refined(self, step: Step) -> bool:
        return step.progress >= self.refine_at

    def _refine(self, cases: Sequence[LabelledCase]) -> Iterator[Revision]:
        """Refined labels: the regions of all images compete, those of one label with each other."""
        statistics = [each for case in cases for each in self._statistics(case)]
        means, voxels = (torch.cat(parts, 1) for parts in zip(*statistics, strict=True))
        refined = refined_regions(means, voxels, [self.correction * rate for rate in self._selection.rates])
        of_images = iter(torch.split(refined, [each.shape[1] for each, _ in statistics], 1))
        for case in cases:
            images = zip(case.images(case.given.long()), case.images(case.map(_SUPERPIXELS).long()), strict=True)
            labels = [_relabelled(given, regions, next(of_images)) for given, regions in images]
            yield Revision(case.name, {_REFINED: case.from_images(labels)})

    def _statistics(self, case: LabelledCase) -> list[tuple[Tensor, Tensor]]:
        """What refinement needs to know of each image, see ``region_statistics``."""
        predicted = case.predict_map(lambda image: mean_probabilities(self.networks, image))
        of_case = (predicted, case.given, case.map(_SUPERPIXELS).long())
        return [region_statistics(*of_image) for of_image in zip(*map(case.images, of_case), strict=True)]


def _pooled(logits: Sequence[Tensor], regions: Tensor) -> tuple[Tensor, ...]:
    """Logarithm of the probabilities that are typical of each voxel's superpixel, by each network."""
    maps = torch.cat([probabilities(each) for each in logits], 1)
    return region_means(maps, regions).clamp(min=1e-6).log().chunk(len(logits), 1)


def _relabelled(given: Tensor, regions: Tensor, refined: Tensor) -> Tensor:
    """The label ``[*spatial]`` of an image by the one of each label and region, ``[C, R]``."""
    known = given != IGNORE
    return refined[given.where(known, 0), regions].where(known, IGNORE).to(torch.uint8)
