"""Mean teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class MeanTeacher(Method):
    r"""Learns from expert labels, and from consistency with its own moving average elsewhere.

    L = L_sup(expert) + w \lambda(t) mean (softmax f_s(x) - softmax f_t(x + \xi))^2 over the other samples.

    \lambda is the sigmoid ramp over ``ramp_length`` of the run, \xi clipped Gaussian noise. Labels of
    noisy samples are not used: for this method they are unlabelled. The paper classifies; loss, ramp
    and noise are those that UA-MT's public code uses for segmentation, which differ from the paper in
    the squared difference being averaged over voxels. The student predicts, as there.

    Args:
        network: the student; the teacher starts as its copy.
        consistency: w, the final weight of the consistency term.
        ramp_length: fraction of the run after which that weight is reached.
        decay: largest decay of the moving average.
        noise: standard deviation of \xi in units of the normalised image; clipped at twice that.
    """

    kind = "semi"
    paper = "Tarvainen & Valpola, Mean teachers are better role models, NeurIPS 2017"
    cost = "1 network, 1 teacher pass"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        consistency: float = 0.1,
        ramp_length: float = 1.0,
        decay: float = 0.99,
        noise: float = 0.1,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.consistency = consistency
        self.ramp_length = ramp_length
        self.noise = noise

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``consistency``."""
        expert = batch.rows(Quality.EXPERT)
        others = batch.rows(Quality.NOISY, Quality.NONE)
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])}
        if others:
            with torch.no_grad():
                target = self.teacher.network(clipped_gaussian(batch.image[others], self.noise)).float().softmax(1)
            weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length)
            terms["consistency"] = weight * squared_difference(logits[others].float().softmax(1), target).mean()
        return terms

    def after_step(self, step: Step) -> None:
        """The teacher follows."""
        self.teacher.follow(self.network, step.index)
