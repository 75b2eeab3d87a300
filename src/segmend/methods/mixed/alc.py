"""Adaptive label correction."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import divergence_weighted_mean, squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.losses import probabilities
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.selection import smallest
from segmend.functional.uncertainty import variance_of_passes
from segmend.methods._base import Method, Step
from segmend.methods.components.chunks import chunks_of, pass_in_chunks
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class Refined(NamedTuple):
    """The teacher's output for noisy samples.

    Attributes:
        label: refined labels ``[B, *spatial]``.
        mean: mean probabilities of the passes ``[B, C, *spatial]``.
        uncertainty: ``[B]``, >= 0; how much the passes differ.
    """

    label: Tensor
    mean: Tensor
    uncertainty: Tensor


class ALC(Method):
    r"""Trains on labels that the teacher refined, where its passes agree, and on the given ones elsewhere.

    A mean teacher passes every noisy sample m times with dropout and input noise: \Psi_j, with mean \Psi. At each
    voxel, a pass has the less weight the more it deviates from the mean, and the uncertainty of the whole sample is the
    variance of its passes:

        H_j = KL(\Psi || \Psi_j),   Y_ref = argmax_c sum_j \Psi_j softmax_j(-H_j),   U = mean_{v,c} var_j \Psi_j.

    The fraction k of a batch's noisy samples with the smallest U is selected. Then

        L = L_sup(expert) + \lambda(t) [ \alpha L_sup(selected, Y_ref) + \beta L_sup(not selected, Y_noisy)
                                         + mean (\Psi - softmax f_s(x))^2 ],

    with \lambda = exp(-5 (1 - t / t_max)^2). The student predicts.

    Deviations from the paper: ``docs/methods/ALC.md``.

    Args:
        network: the student; the teacher starts as its copy. Without dropout the passes differ by noise only.
        passes: m.
        k: fraction of the noisy samples in a batch that is selected.
        alpha: weight of the selected samples.
        beta: weight of the other noisy samples.
        refinement: False labels the selected samples by argmax \Psi, a plain pseudo-label.
        selection: False selects all noisy samples.
        noisy_target: labels of the noisy samples that are not selected: as 'given', or 'refined' too.
        normalise_uncertainty: divide U by the fraction of the sample that the teacher segments as object.
        ramp_length: fraction of the run after which \lambda is 1.
        decay: largest decay of the moving average.
        noise: standard deviation of the input noise in units of the normalised image; clipped at twice that.
        chunk: maximum number of samples that pass a network at a time, all by default. Fewer need less memory, and the
            student's forward pass twice; batch norm then sees the chunk only. Loss and selection are those of the
            batch.
    """

    kind = "mixed"
    paper = "Qian et al., Adaptive label correction for robust medical image segmentation with noisy labels, arXiv 2025"
    cost = "1 network, m teacher passes"
    needs = Composition(expert=4, noisy=20)

    def __init__(
        self,
        network: Network,
        *,
        passes: int = 8,
        k: float = 0.5,
        alpha: float = 3.0,
        beta: float = 2.0,
        refinement: bool = True,
        selection: bool = True,
        noisy_target: Literal["given", "refined"] = "given",
        normalise_uncertainty: bool = False,
        ramp_length: float = 1.0,
        decay: float = 0.99,
        noise: float = 0.1,
        chunk: int | None = None,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.passes, self.noise, self.chunk = passes, noise, chunk
        self.k, self.alpha, self.beta, self.ramp_length = k, alpha, beta, ramp_length
        self.refinement, self.selection, self.noisy_target = refinement, selection, noisy_target
        self.normalise_uncertainty = normalise_uncertainty

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``selected``, ``noisy`` and ``consistency``, if there are such samples."""
        expert, noisy = batch.rows(Quality.EXPERT), batch.rows(Quality.NOISY)
        # Before the student's pass, whose activations then stay in memory until backward.
        refined = self.refine(batch.image[noisy]) if noisy else None
        logits = pass_in_chunks(self.network, batch.image, self.chunk)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if refined:
            ramp = sigmoid_ramp(step.progress, self.ramp_length)
            student, label = logits[noisy], batch.label[noisy]
            label = label if self.noisy_target == "given" else refined.label
            count = round(self.k * len(noisy)) if self.selection else len(noisy)
            chosen, others = smallest(refined.uncertainty, count)
            if len(chosen):
                terms["selected"] = ramp * self.alpha * cross_entropy_dice(student[chosen], refined.label[chosen])
            if len(others):
                terms["noisy"] = ramp * self.beta * cross_entropy_dice(student[others], label[others])
            terms["consistency"] = ramp * squared_difference(probabilities(student), refined.mean).mean()
        return terms

    @torch.no_grad()
    def refine(self, image: Tensor) -> Refined:
        """The teacher's labels of samples ``[B, channels, *spatial]``, and how uncertain it is of each."""
        chunks = chunks_of(image, self.chunk)
        passes = (self.teacher.perturbed_passes(chunk, self.passes, self.noise) for chunk in chunks)
        # Sample by sample, because float32 maps of all passes of a batch would take gigabytes.
        samples = [self._fused(sample) for chunk in passes for sample in torch.split(chunk, 1, dim=1)]
        return Refined(*(torch.cat(parts) for parts in zip(*samples, strict=True)))

    def _fused(self, logits: Tensor) -> Refined:
        """From the passes ``[passes, B, C, *spatial]``."""
        log_passes = logits.float().log_softmax(2)
        passes = log_passes.exp()
        mean = passes.mean(0)
        label = (divergence_weighted_mean(log_passes) if self.refinement else mean).argmax(1)
        uncertainty = variance_of_passes(passes).flatten(1).mean(1)
        if self.normalise_uncertainty:
            uncertainty = uncertainty / (label > 0).flatten(1).float().mean(1).clamp(min=1 / label[0].numel())
        return Refined(label, mean, uncertainty)
