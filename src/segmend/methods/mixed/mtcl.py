"""Mean-teacher-assisted confident learning."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.confident_learning import IssueRule, label_issues
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice, soft_cross_entropy_dice
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.soft_labels import interpolate_labels
from segmend.functional.uncertainty import normalised_entropy
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class MTCL(Method):
    r"""Corrects noisy labels on the fly where confident learning flags them, using the mean teacher's probabilities.

    From the teacher's probabilities p_t(x) for the noisy samples of a batch, confident learning finds the voxels
    M whose label y is doubtful. There the label moves towards the class that the teacher predicts,

        Y = (1 - \kappa M) onehot(y) + \kappa M onehot(argmax p_t(x)),

    by \kappa = 1 (Hard), by a fixed fraction of 0.8 (FS), or by \kappa = 1 - u (UDS), where u is the normalised entropy
    of the teacher's mean prediction in K noisy passes. Then

        L = L_sup(expert) + w(t) [ mean (softmax f_s(x) - softmax f_t(x + \xi))^2 + 5 L_sup(noisy, Y) ],

    with L_sup half cross-entropy plus half squared Dice, and w(t) = 0.1 exp(-5 (1 - t / t_max)^2).

    Implementation notes. Values are those of the public code for the left atrium; the paper's were not available.
    The code casts corrected labels to integers. Then a soft label is background wherever it is doubtful, and FS and UDS
    can only remove the object; here labels stay soft, and ``truncate`` gives the code's. The paper is binary; with
    more classes a label moves towards the most probable one. The teacher's passes have dropout if the network has, as
    in the code. Samples without a label enter the consistency only. The student predicts.

    Args:
        network: the student; the teacher starts as its copy.
        correction: of doubtful labels, as above; 'hard' is the default of the public code.
        fixed_share: \kappa of 'fs'.
        passes: K of 'uds'.
        rule: which voxels are doubtful.
        truncate: let a doubtful label that is moved only partly become background.
        consistency: final weight of the consistency term.
        corrected: final weight of the corrected labels.
        ramp_length: fraction of the run after which these weights are reached.
        ramp_stairs: if positive, they increase in this many discrete steps.
        decay: largest decay of the moving average.
        noise: standard deviation of \xi in units of the normalised image; clipped at twice that.
    """

    kind = "mixed"
    paper = "Xu et al., Anti-interference from noisy labels: Mean-teacher-assisted confident learning, IEEE TMI 2022"
    cost = "1 network, 2 to K + 2 teacher passes"
    needs = Composition(expert=2, noisy=2)

    def __init__(
        self,
        network: Network,
        *,
        correction: Literal["hard", "fs", "uds"] = "uds",
        fixed_share: float = 0.8,
        passes: int = 6,
        rule: IssueRule = "both",
        truncate: bool = False,
        consistency: float = 0.1,
        corrected: float = 0.5,
        ramp_length: float = 0.75,
        ramp_stairs: int = 40,
        decay: float = 0.99,
        noise: float = 0.1,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.correction, self.fixed_share, self.passes = correction, fixed_share, passes
        self.rule: IssueRule = rule
        self.truncate, self.noise = truncate, noise
        self.consistency, self.corrected = consistency, corrected
        self.ramp_length, self.ramp_stairs = ramp_length, ramp_stairs

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``consistency`` and ``corrected``, if there are such samples."""
        expert, noisy = batch.rows(Quality.EXPERT), batch.rows(Quality.NOISY)
        others = batch.rows(Quality.NOISY, Quality.NONE)
        ramp = sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if others:
            with torch.no_grad():
                target = self.teacher.network(clipped_gaussian(batch.image[others], self.noise)).float().softmax(1)
            difference = squared_difference(logits[others].float().softmax(1), target).mean()
            terms["consistency"] = ramp * self.consistency * difference
        if noisy:
            target = self.correct(batch.image[noisy], batch.label[noisy])
            terms["corrected"] = ramp * self.corrected * soft_cross_entropy_dice(logits[noisy], target)
        return terms

    @torch.no_grad()
    def correct(self, image: Tensor, label: Tensor) -> Tensor:
        """Y of noisy samples.

        Args:
            image: ``[B, channels, *spatial]``.
            label: ``[B, *spatial]`` class indices.

        Returns:
            Soft labels ``[B, C, *spatial]``, 0 in all classes where the label is ``IGNORE``.
        """
        probabilities = self.teacher.network(image).float().softmax(1)
        doubtful = label_issues(probabilities, label, self.rule)
        other = probabilities.argmax(1).where(doubtful, label)
        target = interpolate_labels(label, other, self._share(image), probabilities.shape[1])
        return _truncated(target) if self.truncate else target

    def _share(self, image: Tensor) -> float | Tensor:
        if self.correction == "hard":
            return 1.0
        if self.correction == "fs":
            return self.fixed_share
        mean = self.teacher.perturbed_passes(image, self.passes, self.noise).float().softmax(2).mean(0)
        return (1 - normalised_entropy(mean)).clamp(0, 1)

    def after_step(self, step: Step) -> None:
        """The teacher follows."""
        self.teacher.follow(self.network, step.index)


def _truncated(target: Tensor) -> Tensor:
    """Soft labels whose object classes are cut down to whole numbers, with the rest given to the background."""
    whole = target.floor()
    whole[:, 0] = target.sum(1).round() - whole[:, 1:].sum(1)
    return whole
