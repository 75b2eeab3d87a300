"""Cyclic prototype consistency learning."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.prototypes import backward_loss, forward_loss
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.resampling import upsample
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network


class CPCL(Method):
    r"""Prototypes of labelled scans segment unlabelled ones, and prototypes of these segment the labelled ones back.

    A prototype of class c is the mean feature of the voxels of that class, weighted by the predicted probability;
    s(e, q) = softmax_c(20 cos(e, q_c)) segments by prototypes. With prototypes q^l of expert labels, q^u of the
    teacher's predictions p_t on the other samples, and features e of the student,

        L = L_sup(expert) + w \lambda(t) [ mean (s(e^u, q^l) - p_t)^2 + \beta NLL(s(e^l, q^u), y) ].

    Both terms of the cycle train the student's features. The confidences that weight them are treated as constants.

    Implementation notes. In the public left-atrium script the cycle has no gradient: the features that it compares
    are detached from the network, and the unlabelled ones are the teacher's. It therefore trains as a mean teacher;
    that is ``stability``, which the paper drops in favour of the cycle. Here the features are those of the student,
    still attached; ``unlabelled_features=teacher`` uses the script's choice, with which the cycle trains labelled
    features only. The script puts probabilities through a second softmax in its cross-entropy, which then cannot fall
    below 0.31 (two classes); this is the negative log-likelihood. It pairs the i-th labelled with the i-th unlabelled
    sample; here prototypes are those of all samples of the batch together, so that their numbers may differ. A class
    without a prototype takes no part: it is never predicted, and voxels labelled as it are left out. The features are
    the finest of the decoder. Weights, ramp and decay are the script's. Labels of noisy samples are not used: for this
    method they are unlabelled. The student predicts.

    Args:
        network: the student; the teacher starts as its copy.
        consistency: w, the final weight of the cycle.
        backward_weight: \beta, weight of the backward direction, from unlabelled to labelled samples.
        ramp_length: fraction of the run after which w is reached (0.6: 6000 of the script's 10000 steps).
        stability: adds w \lambda(t) times the squared difference to the logits of the teacher that sees input noise.
        unlabelled_features: of the 'student', or of the 'teacher'.
        decay: largest decay of the moving average.
        features: sub-module to tap; the finest of the network's decoder scales by default.
    """

    kind = "semi"
    paper = "Xu et al., All-around real label supervision: cyclic prototype consistency learning, IEEE JBHI 2022"
    cost = "1 network, 1 teacher pass"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        consistency: float = 0.1,
        backward_weight: float = 10.0,
        ramp_length: float = 0.6,
        stability: bool = False,
        unlabelled_features: Literal["student", "teacher"] = "student",
        decay: float = 0.99,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.consistency, self.backward_weight, self.ramp_length = consistency, backward_weight, ramp_length
        self.stability, self.unlabelled_features = stability, unlabelled_features
        tapped = [features] if features else network.decoder_scales[-1:]
        self._taps, self._teacher_taps = FeatureTaps(network, tapped), FeatureTaps(self.teacher.network, tapped)

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``forward`` and ``backward`` of the cycle, and ``stable`` if it is switched on."""
        expert = batch.rows(Quality.EXPERT)
        others = batch.rows(Quality.NOISY, Quality.NONE)
        weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length)
        with self._taps.recording(attached=True) as tapped:
            logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if expert and others:
            with torch.no_grad(), self._teacher_taps.recording() as teacher_tapped:
                target = self.teacher.network(batch.image[others]).float().softmax(1)
            theirs = teacher_tapped[0] if self.unlabelled_features == "teacher" else tapped[0][others]
            labelled, unlabelled = (upsample(side, target.shape[2:]) for side in (tapped[0][expert], theirs))
            label, certainty = batch.label[expert], logits[expert].detach().float().softmax(1)
            forward = forward_loss(labelled, label, certainty, unlabelled, target).mean()
            backward = backward_loss(unlabelled, target, labelled, label)
            terms |= {"forward": weight * forward, "backward": weight * self.backward_weight * backward}
        if self.stability:
            with torch.no_grad():
                stable = self.teacher.network(clipped_gaussian(batch.image)).float()
            terms["stable"] = weight * squared_difference(logits.float(), stable).mean()
        return terms

    def after_step(self, step: Step) -> None:
        """The teacher follows."""
        self.teacher.follow(self.network, step.index)
