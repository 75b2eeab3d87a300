"""A reconstruction in the style of the double-uncertainty weighted mean teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.losses import probabilities
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.uncertainty import normalised_entropy
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network


class DUWMStyle(Method):
    r"""A mean teacher whose predictions and features count less where it is uncertain of either.

    The teacher passes each sample K times, with dropout and input noise. The normalised entropies of the mean of its
    probabilities p_t, and of the mean softmax over the channels of its last feature, are the uncertainties u_s and u_f.
    With features f, in bars of unit length,

        L = L_sup(expert) + w \lambda(t) [ mean e^{-u_s} (p - p_t)^2 + mean e^{-u_f} (\bar f - \bar f_t)^2 ].

    This is a reconstruction after the paper's abstract, since neither equations nor code could be read:
    ``docs/methods/DUWMStyle.md``.

    Args:
        network: the student; the teacher starts as its copy. Without dropout the passes differ by noise only.
        passes: K.
        consistency: w, the final weight of the consistency terms.
        ramp_length: fraction of the run after which that weight is reached.
        ramp_stairs: if positive, the weight increases in this many discrete steps.
        decay: largest decay of the moving average.
        noise: standard deviation of the noise in units of the normalised image; clipped at twice that.
        features: sub-module to tap; the finest of the network's decoder scales by default.
    """

    kind = "semi"
    paper = "Wang et al., Double-uncertainty weighted method for semi-supervised learning, MICCAI 2020"
    cost = "1 network, K teacher passes"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        passes: int = 8,
        consistency: float = 0.1,
        ramp_length: float = 1.0,
        ramp_stairs: int = 0,
        decay: float = 0.99,
        noise: float = 0.1,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.passes, self.noise = passes, noise
        self.consistency, self.ramp_length, self.ramp_stairs = consistency, ramp_length, ramp_stairs
        tapped = [features] if features else network.decoder_scales[-1:]
        self._taps, self._teacher_taps = FeatureTaps(network, tapped), FeatureTaps(self.teacher.network, tapped)

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, and ``segmentation`` and ``features`` of all samples."""
        expert = batch.rows(Quality.EXPERT)
        with self._taps.recording(attached=True) as tapped:
            logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
        target, feature, share = self._teacher_means(batch.image)
        apart = squared_difference(probabilities(logits), target)
        terms["segmentation"] = weight * (apart * (-normalised_entropy(target)).exp()).mean()
        apart = squared_difference(F.normalize(tapped[0].float(), dim=1), F.normalize(feature, dim=1))
        terms["features"] = weight * (apart * (-normalised_entropy(share)).exp()).mean()
        return terms

    @torch.no_grad()
    def _teacher_means(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means over the passes of probabilities, of the feature, and of its softmax over the channels."""
        means: list[Tensor] = []
        for _ in range(self.passes):
            with self._teacher_taps.recording() as tapped:
                (logits,) = self.teacher.perturbed_passes(image, 1, self.noise)
            feature = tapped[0].float()
            found = [each / self.passes for each in (probabilities(logits), feature, feature.softmax(1))]
            means = [mean + each for mean, each in zip(means, found, strict=True)] if means else found
        target, feature, share = means
        return target, feature, share
