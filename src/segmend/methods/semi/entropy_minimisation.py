"""Entropy minimisation."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.uncertainty import self_information
from segmend.methods._base import Method, Step
from segmend.networks import Network


class EntropyMinimisation(Method):
    r"""Learns from expert labels, and is made confident where there are none.

    L = L_sup(expert) + w \lambda(t) mean H(softmax f(x)) / log C.

    Low entropy keeps decision boundaries away from the images (Grandvalet & Bengio, NeurIPS 2004). It cannot correct a
    wrong prediction, only make it more confident, so the weight increases with \lambda(t), the sigmoid ramp.

    Deviations from the paper: ``docs/methods/EntropyMinimisation.md``.

    Args:
        network: the network.
        entropy: w, the final weight of the entropy.
        entropy_on: the samples whose entropy is minimised: 'all' (SSL4MIS), or only the 'unlabelled' ones, which are
            those without an expert label (paper).
        ramp_length: fraction of the run after which that weight is reached; 0 uses it from the start.
    """

    kind = "semi"
    paper = "Vu et al., ADVENT: Adversarial entropy minimization for domain adaptation, CVPR 2019"
    cost = "1 network"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        entropy: float = 0.1,
        entropy_on: Literal["all", "unlabelled"] = "all",
        ramp_length: float = 1.0,
    ) -> None:
        super().__init__(network)
        self.entropy, self.entropy_on, self.ramp_length = entropy, entropy_on, ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``entropy``."""
        expert = batch.rows(Quality.EXPERT)
        lowered = batch.rows(*Quality) if self.entropy_on == "all" else batch.unsupervised
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if lowered:
            weight = self.entropy * sigmoid_ramp(step.progress, self.ramp_length)
            information = self_information(logits[lowered].float().log_softmax(1))
            terms["entropy"] = weight * information.sum(1).mean()
        return terms
