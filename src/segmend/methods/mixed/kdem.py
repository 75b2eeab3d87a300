"""Knowledge distillation and entropy minimisation between a strongly and a weakly supervised decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import kl_divergence
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.losses import probabilities
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.uncertainty import entropy
from segmend.methods._base import Method, Step
from segmend.methods.components.branches import second_decoder
from segmend.networks import Network


class KDEM(Method):
    r"""A decoder trained on expert labels teaches a second, confident one, which learns from the noisy labels.

    Both decoders share one encoder. The strong one, p_s, learns from expert labels, the weak one, p_w, from noisy
    labels. On noisy samples the weak one also follows the strong one, and lowers its entropy:

        L = L_sup(p_s, expert) + \lambda_w L_sup(p_w, noisy) + \lambda_kl KL(p_s || p_w) + \lambda_ent g(t) H(p_w),

    where KL and H are means over all voxels, p_s is constant in KL, and g(t) = exp(-5 (1 - t / t_max)^2). The weak
    decoder predicts: in the paper the confident student is better than its teacher.

    Deviations from the paper: ``docs/methods/KDEM.md``.

    Args:
        network: encoder and strong decoder; the weak decoder is a second one with its own random initialisation.
        weak: \lambda_w.
        distillation: \lambda_kl.
        confidence: \lambda_ent.
        distil_on: samples on which the weak decoder follows the strong one.
        ramp_length: fraction of the run after which the entropy has its full weight.
        predict_with: the decoder that predicts.
        shared: sub-modules that both decoders share; the network's encoder by default.
    """

    kind = "mixed"
    paper = "Dolz et al., Teach me to segment with mixed supervision: Confident students become masters, IPMI 2021"
    cost = "1 network with 2 decoders, passed twice"
    needs = Composition(expert=2, noisy=2)

    def __init__(
        self,
        network: Network,
        *,
        weak: float = 0.1,
        distillation: float = 20.0,
        confidence: float = 1.0,
        distil_on: Literal["noisy", "expert"] = "noisy",
        ramp_length: float = 1.0,
        predict_with: Literal["weak", "strong"] = "weak",
        shared: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        self.student = second_decoder(network, shared or network.encoder_stages)
        self.weak, self.distillation, self.confidence = weak, distillation, confidence
        self.distil_on, self.ramp_length, self.predict_with = distil_on, ramp_length, predict_with

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``strong`` on expert samples, ``weak`` and ``confident`` on noisy ones, ``distilled`` on either."""
        expert, noisy = batch.rows(Quality.EXPERT), batch.rows(Quality.NOISY)
        # Both pass the whole batch, so that their features have the same batch statistics.
        strong, weak = self.network(batch.image), self.student(batch.image).float()
        terms = {"strong": cross_entropy_dice(strong[expert], batch.label[expert])} if expert else {}
        if noisy:
            ramp = sigmoid_ramp(step.progress, self.ramp_length)
            terms["weak"] = self.weak * cross_entropy_dice(weak[noisy], batch.label[noisy])
            terms["confident"] = self.confidence * ramp * entropy(probabilities(weak[noisy])).mean()
        if distilled := noisy if self.distil_on == "noisy" else expert:
            teacher = probabilities(strong[distilled].detach())
            terms["distilled"] = self.distillation * kl_divergence(teacher, weak[distilled].log_softmax(1)).mean()
        return terms

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities of the selected decoder."""
        return probabilities((self.student if self.predict_with == "weak" else self.network)(image))
