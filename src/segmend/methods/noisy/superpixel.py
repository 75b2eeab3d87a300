"""Superpixel-guided iterative learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import joint_loss
from segmend.functional.superpixels import (
    as_digits,
    from_digits,
    refined_regions,
    region_means,
    region_statistics,
    superpixels,
)
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.peers import Predictor, predict_by, reinitialised_copy
from segmend.methods.components.small_loss import SmallLossSelection
from segmend.networks import Network

_REFINED, _HIGH, _LOW = "refined", "superpixel_high", "superpixel_low"


class Superpixel(Method):
    r"""Two networks select and correct labels per superpixel instead of per voxel.

    Before the first step every image is cut into SLIC superpixels. Let \bar p_i be a network's probabilities,
    averaged over each superpixel, and

        \ell(p_1, p_2) = (1 - \lambda) (CE(p_1, y) + CE(p_2, y)) + \lambda (KL(p_1 || p_2) + KL(p_2 || p_1)).

    For each label, the voxels with the smallest \ell(\bar p_1, \bar p_2) are selected; their fraction decreases from 1
    to 1 - \tau. Both networks minimise the mean of \ell(p_1, p_2) over them. Once in the run labels are refined: with
    \bar p = (\bar p_1 + \bar p_2) / 2, among the voxels labelled k in all scans, the fraction \tau with the lowest \bar
    p_k gets the most probable other label where \bar p_k < 0.5. After that 1 - \tau, the precision of labels, counts as
    1.1 times as high, up to a cap.

    Implementation notes. Noise rates are taken as known, as in the paper. Its code refines when the losses of
    selected and other voxels have not moved further apart for five epochs; here it is at a fixed fraction of the run,
    which is known in advance. It ranks the voxels of a few hundred images at a time; here all superpixels compete, and
    one is corrected with all its voxels of that label. Its loss weighs classes; this does not. Superpixels are given by
    their size instead of their number, which suits scans of any size, in 3D too. Intensities here have a range of 1,
    not the 100 of the colour space for which the code's compactness of 10 is meant. The paper is binary.

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
    paper = (
        "Li et al., Superpixel-guided iterative learning from noisy labels for medical image segmentation, MICCAI 2021"
    )
    cost = "2 networks; SLIC at first, predicts all cases once"
    needs = Composition(mixed=4)
    layers = (_REFINED, _HIGH, _LOW)
    carried = (_HIGH, _LOW)

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
        prediction: Predictor = "first",
    ) -> None:
        super().__init__(network)
        self.peer = reinitialised_copy(network)
        self.size, self.compactness = size, compactness
        self.co_lambda, self.refine_at, self.correction = co_lambda, refine_at, correction
        self._selection = SmallLossSelection(
            network, noise_rate=noise_rate, ramp_length=ramp_length, exponent=1, scope="class"
        )
        risen = [max(1 - rate, min(1.1 * (1 - rate), cap)) for rate in self._selection.rates]
        self._later_selection = SmallLossSelection(
            network, noise_rate=[1 - each for each in risen], ramp_length=ramp_length, exponent=1, scope="class"
        )
        self.prediction: Predictor = prediction

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``supervised`` and ``agreement``, of both networks together."""
        rows = batch.rows(Quality.EXPERT, Quality.NOISY)
        if not rows:
            return {}
        image, label = batch.image[rows], batch.layers[_REFINED][rows]
        regions = from_digits(batch.layers[_HIGH][rows], batch.layers[_LOW][rows])
        first, second = self.network(image), self.peer(image)
        with torch.no_grad():
            pooled = _pooled(first, regions), _pooled(second, regions)
            scores = torch.stack(joint_loss(*pooled, label, self.co_lambda)).sum(0)
        selection = self._later_selection if self._refined(step) else self._selection
        chosen = selection.select(scores, label, label != IGNORE, step.progress)
        supervised, agreement = joint_loss(first, second, label, self.co_lambda)
        return {"supervised": masked_mean(supervised, chosen), "agreement": masked_mean(agreement, chosen)}

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities of the selected network, or of both."""
        return predict_by(self.prediction, self.network, self.peer, image)

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
            for layer, digit in zip((_HIGH, _LOW), as_digits(self._superpixels(case)), strict=True):
                yield Revision(case.name, layer, digit)

    def _refined(self, step: Step) -> bool:
        return step.progress >= self.refine_at

    def _superpixels(self, case: LabelledCase) -> Tensor:
        image = case.maps(lambda window: window)
        images = image.unbind(-1) if case.sliced else [image]
        regions = [superpixels(each, self.size, self.compactness) for each in images]
        return torch.stack(regions, -1) if case.sliced else regions[0]

    def _refine(self, cases: Sequence[LabelledCase]) -> Iterator[Revision]:
        statistics = [self._statistics(case) for case in cases]
        means, voxels = (torch.cat(parts, 1) for parts in zip(*statistics, strict=True))
        refined = refined_regions(means, voxels, [self.correction * rate for rate in self._selection.rates])
        sizes = [each.shape[1] for each, _ in statistics]
        for case, of_case in zip(cases, torch.split(refined, sizes, 1), strict=True):
            given = case.given.long()
            known = given != IGNORE
            label = of_case[given.where(known, 0), _numbered(case)].where(known, IGNORE)
            yield Revision(case.name, _REFINED, label.to(torch.uint8))

    def _statistics(self, case: LabelledCase) -> tuple[Tensor, Tensor]:
        maps = case.maps(lambda image: predict_by("mean", self.network, self.peer, image))
        return region_statistics(maps, case.given, _numbered(case))


def _pooled(logits: Tensor, regions: Tensor) -> Tensor:
    """Logarithm of the probabilities that are typical of each voxel's superpixel."""
    return region_means(logits.float().softmax(1), regions).clamp(min=1e-6).log()


def _numbered(case: LabelledCase) -> Tensor:
    """Superpixels of a whole case, numbered from 0 without gaps: ``[*spatial]``."""
    regions = from_digits(case.layer(_HIGH), case.layer(_LOW))
    if case.sliced:
        regions = regions + (regions.max() + 1) * torch.arange(regions.shape[-1])
    found: tuple[Tensor, Tensor] = torch.unique(regions, return_inverse=True)
    return found[1]
