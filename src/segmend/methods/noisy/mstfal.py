"""Multi-scale temporal feature affinity learning, with the slices of a volume as frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.functional.affinity import affinities, rank_weights, unreliable_voxels
from segmend.functional.losses import cross_entropy
from segmend.functional.ramps import rounds
from segmend.functional.resampling import upsample
from segmend.functional.selection import hard_voxels
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network

RECTIFIED, WEIGHT = "rectified", "weight"


class MSTFAL(Method):
    r"""A label that features of the next slice do not confirm counts less, and in the worst scans is replaced.

    The positive affinity of a voxel is the mean cosine of its feature to those of the next slice that have the same
    label, the negative one that to all others. With their means p and n over a slice, a scan is as reliable as
    mean (p + 1 - n) over its slices. The network learns by cross-entropy of its hard voxels, in stages:

    1. all labels count equally;
    2. scans are weighted by the rank of their reliability, from 0.4 to 1;
    3. slices too, by a = exp(2 (p + 1 - n - mean p - mean (1 - n)));
    4. in the least reliable scans, which now weigh 0.7, voxels with low positive and high negative affinity take the
       class that a mean teacher predicts.

    Deviations from the paper: ``docs/methods/MSTFAL.md``.

    Args:
        network: the network; the teacher starts as its copy.
        stages: fractions of the run at which stages 2, 3 and 4 start.
        interval: fraction of the run between one evaluation of the labels and the next.
        worst: fraction of the scans whose labels stage 4 changes.
        share: fraction of the voxels of a slice that is low, and that is high.
        threshold: voxels whose label has a probability below are hard.
        decay: largest decay of the teacher's moving average.
        features: sub-module to tap; the finest of the network's decoder scales by default.
    """

    kind = "noisy"
    paper = "Cui et al., Rectifying noisy labels with sequential prior, MICCAI 2023"
    cost = "1 network; predicts all cases now and then"
    needs = Composition(any_labelled=4)
    layers, values = (RECTIFIED,), (WEIGHT,)

    def __init__(
        self,
        network: Network,
        *,
        stages: Sequence[float] = (0.2, 0.3, 0.4),
        interval: float = 0.1,
        worst: float = 0.2,
        share: float = 0.3,
        threshold: float = 0.7,
        decay: float = 0.99,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay, copy_statistics=True)
        self.stages, self.interval = tuple(stages), interval
        self.worst, self.share, self.threshold = worst, share, threshold
        self._taps = FeatureTaps(network, [features] if features else network.decoder_scales[-1:])

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``rectified``: the weighted cross-entropy of hard voxels."""
        rows = batch.labelled
        if batch.place is not None and batch.place.shape[1] < 3:
            problem = "compares neighbouring slices, but the scans are 2D images"
            raise InputError("method MSTFAL", problem, "choose another method, or give volumes", code="mismatch")
        if not rows:
            return {}
        label = batch.layers[RECTIFIED][rows]
        losses = cross_entropy(self.network(batch.image[rows]), label)
        weights = batch.values[WEIGHT][rows].nan_to_num(1.0).view(-1, *[1] * (label.ndim - 1))
        hard = hard_voxels((-losses.detach()).exp(), label != IGNORE, self.threshold)
        return {RECTIFIED: masked_mean(weights * losses, hard)}

    def revises(self, step: Step) -> bool:
        """At the start of stage 2, and once in every interval after it."""
        due = rounds(step.progress, self.stages[0], self.interval)
        return due > rounds(Step(step.index - 1, step.total).progress, self.stages[0], self.interval)

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Weigh and, in stage 4, relabel the noisy cases, whose own given labels are evaluated each time."""
        noisy = [case for case in cases if case.quality is Quality.NOISY and case.given.ndim > 2]
        scores = [_frame_scores(*self._affinities(case)) for case in noisy]
        reliabilities = [_mean(p + 1 - n for p, n in each) for each in scores]
        levels = [_mean(pair[k] for each in scores for pair in each) for k in range(2)]
        worst = sorted(range(len(noisy)), key=lambda row: reliabilities[row])[: round(self.worst * len(noisy))]
        for row, (case, weight) in enumerate(zip(noisy, rank_weights(reliabilities), strict=True)):
            weights, labels = [weight] * len(scores[row]), {}
            if step.progress >= self.stages[1]:
                weights = [weight * _slice_weight(p - levels[0], n - levels[1]) for p, n in scores[row]]
            if step.progress >= self.stages[2] and row in worst:
                weights, labels = [0.7] * len(weights), {RECTIFIED: self._relabelled(case)}
            elif case.was_revised(RECTIFIED):
                labels = {RECTIFIED: case.given}
            yield Revision(case.name, labels, values={WEIGHT: weights if case.sliced else fmean(weights)})

    def _relabelled(self, case: LabelledCase) -> Tensor:
        positive, negative = self._affinities(case)
        frames = [unreliable_voxels(p, n, self.share) for p, n in zip(positive, negative, strict=True)]
        return case.given.where(
            ~torch.stack(frames, -1), case.predict_map(self.teacher.predict).argmax(0).to(torch.uint8)
        )

    def _affinities(self, case: LabelledCase) -> tuple[list[Tensor], list[Tensor]]:
        """Positive and negative affinity of each slice to the next, and of the last to the one before."""
        features, label = case.predict_map(self._features), case.given
        last = label.shape[-1] - 1
        pairs = [(frame, frame + 1 if frame < last else max(frame - 1, 0)) for frame in range(last + 1)]
        found = [affinities(features[..., a], label[..., a], features[..., b], label[..., b]) for a, b in pairs]
        return [each[0] for each in found], [each[1] for each in found]

    def _features(self, image: Tensor) -> Tensor:
        with self._taps.recording() as tapped:
            self.network(image)
        return upsample(tapped[0].float(), image.shape[2:])


def _frame_scores(positive: Sequence[Tensor], negative: Sequence[Tensor]) -> list[tuple[float, float]]:
    return [(p.nanmean().item(), n.nanmean().item()) for p, n in zip(positive, negative, strict=True)]


def _mean(values: Iterable[float]) -> float:
    """Of those that are defined; NaN without any."""
    defined = [each for each in values if not math.isnan(each)]
    return fmean(defined) if defined else math.nan


def _slice_weight(positive: float, negative: float) -> float:
    """By how much a slice's affinities are above the mean; 1 if one is undefined."""
    weight = math.exp(2 * (positive - negative))
    return 1.0 if math.isnan(weight) else weight
