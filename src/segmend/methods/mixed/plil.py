"""Prototypical label isolation learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.data.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.prototypes import (
    agrees_with_nearest_prototype,
    class_prototypes,
    majority,
    squared_distances,
)
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.reduce import masked_mean
from segmend.functional.supervision import cross_entropy_dice
from segmend.functional.uncertainty import normalised_entropy, spread_of_halved_logits
from segmend.methods._base import Batch, Method, Needs, Step
from segmend.networks import Network
from segmend.parts.ema import EMATeacher
from segmend.parts.feature_taps import FeatureTaps


class PLIL(Method):
    kind = "mixed"
    needs = Needs(expert=2, noisy=2)

    def __init__(
        self,
        network: Network,
        *,
        passes: int = 8,
        uncertainty: Literal["entropy", "spread"] = "entropy",
        threshold: float = 0.1,
        ramp_length: float = 1.0,
        ramp_stairs: int = 0,
        beta: float = 0.1,
        decay: float = 0.99,
        voting: bool = True,
        clean_voxel_loss: bool = True,
        stability_loss: Literal["softmax", "logits", "none"] = "softmax",
        quality_known: bool = True,
        mask_dice_target: bool = True,
        features: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.passes = passes
        self.uncertainty = uncertainty
        self.threshold = threshold
        self.ramp_length = ramp_length
        self.ramp_stairs = ramp_stairs
        self.beta = beta
        self.stability_loss = stability_loss
        self.clean_voxel_loss = clean_voxel_loss
        self.mask_dice_target = mask_dice_target
        self.quality_known = quality_known
        names = tuple(features or network.decoder_scales)
        self._taps = FeatureTaps(self.teacher.network, names if voting else names[-2:-1])
        if not quality_known:
            self.needs = Needs(mixed=4)

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        logits = self.network(batch.image)
        weight = sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
        expert = batch.rows(Quality.EXPERT) if self.quality_known else []
        noisy = [row for row in range(len(batch.cases)) if row not in expert]
        terms = {}
        if expert:
            terms["expert"] = cross_entropy_dice(logits[expert], batch.label[expert])
        if noisy:
            image, label = batch.image[noisy], batch.label[noisy]
            clean = self.isolate(image, label)
            self.last = clean, label, batch, noisy
            if self.clean_voxel_loss:
                terms["clean"] = weight * cross_entropy_dice(logits[noisy], label, clean, mask_dice_target=self.mask_dice_target)
            if self.stability_loss != "none":
                terms["stable"] = weight * self.beta * self._stability(image, logits[noisy], ~clean)
        return terms

    @torch.no_grad()
    def isolate(self, image: Tensor, label: Tensor) -> Tensor:
        with self._taps.recording() as features:
            logits = self.teacher.network.stochastic_passes(image, self.passes)
        logits = logits.float().unflatten(0, (self.passes, -1))
        weights = self._trusted_probabilities(logits)
        # |e - q| orders the same after upsampling e: both are linear up to |q|^2.
        votes = []
        for tapped in features:
            scale = tapped.float().unflatten(0, (self.passes, -1)).mean(0)
            q = class_prototypes(scale, weights)
            votes.append(agrees_with_nearest_prototype(squared_distances(scale, q, label.shape[1:]), label))
        return majority(votes)

    def _trusted_probabilities(self, logits: Tensor) -> Tensor:
        mean = logits.softmax(2).mean(0)
        winner = F.one_hot(mean.argmax(1), mean.shape[1]).movedim(-1, 1).bool()
        if self.uncertainty == "entropy":
            trusted = winner & (normalised_entropy(mean) < self.threshold).unsqueeze(1)
        else:
            single = logits[0].softmax(1)
            q = single * (spread_of_halved_logits(logits) < self.threshold)
            trusted = F.one_hot(q.argmax(1), mean.shape[1]).movedim(-1, 1).bool()
            mean = single
        enough = (trusted * mean).flatten(2).sum(2) >= 1.0
        return torch.where(enough.view(*enough.shape, *[1] * (mean.ndim - 2)), trusted, winner) * mean

    def _stability(self, image: Tensor, student: Tensor, noisy_voxels: Tensor) -> Tensor:
        with torch.no_grad():
            perturbation = (0.1 * torch.randn_like(image)).clamp(-0.2, 0.2)
            teacher = self.teacher.network(image + perturbation).float()
        student = student.float()
        if self.stability_loss == "softmax":
            student, teacher = student.softmax(1), teacher.softmax(1)
        return masked_mean(squared_difference(student, teacher), noisy_voxels)

    def after_step(self, step: Step) -> None:
        self.teacher.follow(self.network, step.index)
