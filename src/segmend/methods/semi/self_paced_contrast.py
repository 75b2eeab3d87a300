"""Self-paced contrastive learning with meta-labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.contrast import groups_of, mean_over_positives, pair_losses, self_paced_weights
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.geometry import Flip
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.meta_labels import MetaLabel, meta_labels
from segmend.methods.components.projections import Projections
from segmend.methods.components.sub_modules import members
from segmend.networks import Network

_MIRRORED = 0.8
"""Probability of mirroring along an axis."""


class SelfPacedContrast(Method):
    r"""An encoder learns first which slices are from the same part of the body, the easiest pairs first.

    Projections of the encoder's mean features of every sample and of its mirror image are compared. Those of one
    meta-label (part of the scan along its last axis, or case) are positives, all others negatives; with their losses
    l_ij, the pre-training minimises for each kind of meta-label

        mean_i mean_{j positive} w_ij l_ij / mean w,    w_ij = max(0, 1 - l_ij / \gamma),

    where \gamma increases from its first to its last value with the square root of the progress. Then the network is
    trained on expert labels.

    Deviations from the paper: ``docs/methods/SelfPacedContrast.md``.

    Args:
        network: the network.
        pretrain: fraction of the run that is pre-training.
        contrast: weight of the contrastive loss in the pre-training.
        regularisation: its weight afterwards.
        labels: kinds of meta-labels, each with a loss of its own: 'position' along the last axis of the scan, 'case'.
        partitions: parts that a scan is divided into by position.
        temperature: of the similarities.
        pace: first and last \gamma.
        weights: 'soft', as above, or 'hard': 1 up to \gamma, then 0.
        divide_by_weight: divide by the mean weight of the positives.
        features: encoder feature; the network's coarsest by default.
    """

    kind = "semi"
    paper = "Peng et al., Self-paced contrastive learning for semi-supervised medical image segmentation, NeurIPS 2021"
    cost = "1 network, passed again with mirrored samples in the pre-training"
    needs = Composition(expert=2, unlabelled=6)

    def __init__(
        self,
        network: Network,
        *,
        pretrain: float = 0.5,
        contrast: float = 1.0,
        regularisation: float = 0.0,
        labels: Sequence[MetaLabel] = ("position", "case"),
        partitions: int = 3,
        temperature: float = 0.07,
        pace: tuple[float, float] = (3.0, 70.0),
        weights: Literal["soft", "hard"] = "soft",
        divide_by_weight: bool = True,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        tapped = [features] if features else members(network, network.encoder_stages)[-1:]
        self._taps, self.projections = FeatureTaps(network, tapped), Projections(network, tapped)
        self.pretrain, self.contrast, self.regularisation = pretrain, contrast, regularisation
        self.labels, self.partitions, self.temperature = tuple(labels), partitions, temperature
        self.pace, self.divide_by_weight = tuple(pace), divide_by_weight
        self.weights: Literal["soft", "hard"] = weights

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``contrast`` in the pre-training, then ``expert``, and both if there is ``regularisation``."""
        expert, terms = batch.rows(Quality.EXPERT), {}
        pretraining = step.progress < self.pretrain
        if weight := self.contrast if pretraining else self.regularisation:
            phase = min(step.progress / self.pretrain, 1.0) if self.pretrain else 1.0
            terms["contrast"] = weight * self._contrast(batch, phase)
        if expert and not pretraining:
            terms["expert"] = cross_entropy_dice(self.network(batch.image[expert]), batch.label[expert])
        return terms

    def _contrast(self, batch: Batch, phase: float) -> Tensor:
        mirror = Flip(torch.rand(len(batch.image), batch.image.ndim - 2) < _MIRRORED)
        with self._taps.recording(attached=True) as tapped:
            self.network(torch.cat([batch.image, mirror(batch.image)]))
        (vectors,) = self.projections(tapped)
        total: Tensor = vectors.new_zeros(())
        for kind in self.labels:
            positive, negative = groups_of(meta_labels(batch, kind, self.partitions).repeat(2))
            losses = pair_losses(vectors[:, 0], positive, negative, self.temperature)
            weights = self_paced_weights(losses, self._gamma(phase), self.weights)
            share = masked_mean(weights, positive) if self.divide_by_weight else 1.0
            total = total + mean_over_positives(losses, positive, weights) / (share + 1e-16)
        return total

    def _gamma(self, phase: float) -> float:
        first, last = self.pace
        return first + (last - first) * math.sqrt(phase)
