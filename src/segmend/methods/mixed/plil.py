"""Prototypical label isolation learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.label_isolation import confirmed_by_prototypes, prototype_weights
from segmend.functional.losses import probabilities
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network


class PLIL(Method):
    r"""Trains on the voxels of noisy labels that the teacher's class prototypes confirm.

    A mean teacher passes every noisy sample K times with dropout. From the mean prediction, voxels with
    normalised entropy below \eta make a prototype of each class, q_c = sum p_c e / sum p_c, at each of
    the last three decoder scales. A label counts as clean at a scale if its own class's prototype is
    strictly the nearest, and is clean (m = 1) if it is so at two of three scales. Then

        L = L_sup(expert) + \lambda(t) [ L_sup(noisy, m) + \beta mean_{m=0} (p_s - p_t)^2 ],

    where L_sup is half cross-entropy plus half squared Dice over the voxels with m = 1, p_t is the
    teacher's prediction for the perturbed image, and \lambda = exp(-5 (1 - t / t_max)^2).

    Deviations from the paper: ``docs/methods/PLIL.md``.

    Args:
        network: the student; the teacher starts as its copy.
        passes: K.
        uncertainty: 'entropy' of the mean prediction (paper), or 'spread' of the passes, channel by channel, where
            voxels that are uncertain in all channels become background (public code).
        threshold: \eta; voxels below are trusted.
        ramp_length: fraction of the run after which \lambda is 1.
        ramp_stairs: if positive, \lambda increases in this many discrete steps.
        warm_up: fraction of the run in which every voxel of noisy labels is trusted. The paper has no warm-up; on short
            runs the teacher must first learn features from which prototypes can be computed.
        beta: weight of the stability loss.
        decay: largest decay of the moving average.
        voting: False uses the last scale but one only.
        clean_voxel_loss: False leaves out the supervised loss on noisy samples.
        stability_loss: of 'softmax' outputs, of 'logits', or 'none'.
        perturb_student: the stability loss compares with a pass of the student that sees noise too (paper).
        quality_known: False treats every sample as noisy, whatever its label's quality.
        mask_dice_target: False reproduces the code's Dice target, which calls masked-out voxels background.
        features: sub-modules to tap, from coarse to fine; the network's last decoder scales by default.
    """

    kind = "mixed"
    paper = "Xu et al., Expert-annotated and noisy labels by prototypical label isolation, MICCAI 2023"
    cost = "1 network, K + 1 teacher passes"
    needs = Composition(expert=2, noisy=2)

    def __init__(
        self,
        network: Network,
        *,
        passes: int = 8,
        uncertainty: Literal["entropy", "spread"] = "entropy",
        threshold: float = 0.1,
        ramp_length: float = 1.0,
        ramp_stairs: int = 0,
        warm_up: float = 0.0,
        beta: float = 0.1,
        decay: float = 0.99,
        voting: bool = True,
        clean_voxel_loss: bool = True,
        stability_loss: Literal["softmax", "logits", "none"] = "softmax",
        perturb_student: bool = False,
        quality_known: bool = True,
        mask_dice_target: bool = True,
        features: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.passes, self.threshold = passes, threshold
        self.uncertainty: Literal["entropy", "spread"] = uncertainty
        self.ramp_length, self.ramp_stairs, self.warm_up, self.beta = ramp_length, ramp_stairs, warm_up, beta
        self.clean_voxel_loss, self.mask_dice_target = clean_voxel_loss, mask_dice_target
        self.stability_loss, self.perturb_student, self.quality_known = stability_loss, perturb_student, quality_known
        scales = tuple(features or network.decoder_scales)
        self._taps = FeatureTaps(self.teacher.network, scales if voting else scales[-2:][:1])
        if not quality_known:
            self.needs = Composition(any_labelled=4)

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``clean`` and ``stable``, if they are switched on."""
        expert = batch.rows(Quality.EXPERT) if self.quality_known else []
        noisy = [row for row in range(len(batch.cases)) if row not in expert]
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if noisy:
            image, label, student = batch.image[noisy], batch.label[noisy], logits[noisy]
            warm = step.progress >= self.warm_up
            clean = self.isolate(image, label) if warm else torch.ones_like(label, dtype=torch.bool)
            ramp = sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
            if self.clean_voxel_loss:
                supervised = cross_entropy_dice(student, label, clean, mask_dice_target=self.mask_dice_target)
                terms["clean"] = ramp * supervised
            if self.stability_loss != "none":
                terms["stable"] = ramp * self.beta * masked_mean(self._instability(image, student), ~clean)
        return terms

    @torch.no_grad()
    def isolate(self, image: Tensor, label: Tensor) -> Tensor:
        """Select the voxels of noisy labels that are trusted.

        Args:
            image: ``[B, channels, *spatial]``.
            label: ``[B, *spatial]`` class indices.

        Returns:
            Boolean ``[B, *spatial]``.
        """
        with self._taps.recording() as tapped:
            logits = self.teacher.network.stochastic_passes(image, self.passes)
        weights = prototype_weights(_by_pass(logits, self.passes), self.uncertainty, self.threshold)
        return confirmed_by_prototypes([_by_pass(each, self.passes).mean(0) for each in tapped], weights, label)

    def _instability(self, image: Tensor, student: Tensor) -> Tensor:
        """Squared difference of student and perturbed teacher, ``[B, *spatial]``."""
        with torch.no_grad():
            teacher = self.teacher.network(clipped_gaussian(image)).float()
        student = self.network(clipped_gaussian(image)).float() if self.perturb_student else student.float()
        if self.stability_loss == "softmax":
            student, teacher = probabilities(student), probabilities(teacher)
        return squared_difference(student, teacher)


def _by_pass(outputs: Tensor, passes: int) -> Tensor:
    """Rows of stochastic passes as ``[passes, B, ...]`` float32."""
    return outputs.float().view(passes, -1, *outputs.shape[1:])
