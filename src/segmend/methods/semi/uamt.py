"""Uncertainty-aware mean teacher."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.uncertainty import entropy
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class UAMT(Method):
    r"""A mean teacher that is followed only where it is certain.

    The teacher passes each sample without an expert label K times, with dropout and input noise \xi. Voxels where the
    entropy u of the mean prediction is below a threshold H are certain (m = 1), and only there

        L = L_sup(expert) + w \lambda(t) mean_{m=1} (softmax f_s(x) - softmax f_t(x + \xi))^2,
        H(t) = (a + (1 - a) exp(-5 (1 - t / t_max)^2)) log C,

    so that the mask grows over the run, until at its end it leaves nothing out.

    Implementation notes. The target prediction is one more pass, not the mean of the K, as in the public code. The
    code divides by twice the number of certain voxels, two being its number of classes; here it is the mean over
    classes, which is the same for two. For more classes the largest entropy is log C; others keep log 2. The code
    raises \lambda in 40 stairs, which ``ramp_stairs=40`` reproduces. Its supervised Dice is that of the object alone;
    here it is the one of all methods that are compared on the left atrium, over all classes. Labels of noisy samples
    are not used: for this method they are unlabelled. The student predicts.

    Args:
        network: the student; the teacher starts as its copy. Without dropout the passes differ by noise only.
        passes: K.
        threshold: a, the fraction of the largest entropy below which voxels are certain when the run starts.
        consistency: w, the final weight of the consistency term.
        ramp_length: fraction of the run after which that weight is reached.
        ramp_stairs: if positive, the weight increases in this many discrete steps.
        decay: largest decay of the moving average.
        noise: standard deviation of \xi in units of the normalised image; clipped at twice that.
    """

    kind = "semi"
    paper = "Yu et al., Uncertainty-aware self-ensembling for semi-supervised left atrium segmentation, MICCAI 2019"
    cost = "1 network, K + 1 teacher passes"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        passes: int = 8,
        threshold: float = 0.75,
        consistency: float = 0.1,
        ramp_length: float = 1.0,
        ramp_stairs: int = 0,
        decay: float = 0.99,
        noise: float = 0.1,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.passes, self.threshold, self.noise = passes, threshold, noise
        self.consistency, self.ramp_length, self.ramp_stairs = consistency, ramp_length, ramp_stairs

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``consistency``."""
        expert = batch.rows(Quality.EXPERT)
        others = batch.rows(Quality.NOISY, Quality.NONE)
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if others:
            image = batch.image[others]
            with torch.no_grad():
                target = self.teacher.network(clipped_gaussian(image, self.noise)).float().softmax(1)
            difference = squared_difference(logits[others].float().softmax(1), target)
            weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
            terms["consistency"] = weight * masked_mean(difference, self.sure(image, step))
        return terms

    def sure(self, image: Tensor, step: Step) -> Tensor:
        """Return where the teacher can be followed.

        Args:
            image: ``[B, channels, *spatial]``.
            step: decides the threshold.

        Returns:
            Boolean ``[B, *spatial]``.
        """
        mean = self.teacher.perturbed_passes(image, self.passes, self.noise).float().softmax(2).mean(0)
        share = self.threshold + (1 - self.threshold) * sigmoid_ramp(step.progress)
        return entropy(mean) < share * math.log(mean.shape[1])

    def after_step(self, step: Step) -> None:
        """The teacher follows."""
        self.teacher.follow(self.network, step.index)
