"""Pseudo-labels."""

from __future__ import annotations

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.losses import cross_entropy
from segmend.functional.ramps import linear_ramp
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.networks import Network


class PseudoLabel(Method):
    r"""Uses the network's own predictions as labels of unlabelled scans.

    L = L_sup(expert) + a(t) mean CE(f(x), argmax f(x)) over the voxels of the other samples

    where the largest probability is at least a threshold. a increases linearly from 0 at T1 to a_f at T2. No gradient
    passes through the labels, which are recomputed in each step; the term lowers the entropy, so decision boundaries
    move to regions with few voxels.

    Implementation notes. The paper classifies digits, with T1 = 100 and T2 = 600 of its epochs and a_f = 3, as
    recalled; here T1 and T2 are fractions of the run, and a_f is smaller, since nearly all voxels of a scan are
    background, which the network soon predicts confidently. It has no threshold. The supervised loss is that of all
    methods that are compared on the left atrium. Labels of noisy samples are not used: for this method they are
    unlabelled.

    Args:
        network: the network.
        weight: a_f.
        start: T1.
        end: T2.
        threshold: least probability of a pseudo label, 0..1; 0 takes all of them (paper).
    """

    kind = "semi"
    paper = "Lee, Pseudo-label: The simple and efficient semi-supervised learning method, ICML Workshop 2013"
    cost = "1 network"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self, network: Network, *, weight: float = 1.0, start: float = 0.1, end: float = 0.6, threshold: float = 0.0
    ) -> None:
        super().__init__(network)
        self.weight, self.start, self.end, self.threshold = weight, start, end, threshold

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``pseudo``."""
        expert = batch.rows(Quality.EXPERT)
        others = batch.rows(Quality.NOISY, Quality.NONE)
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if others:
            probability, predicted = logits[others].detach().float().softmax(1).max(1)
            loss = masked_mean(cross_entropy(logits[others], predicted), probability >= self.threshold)
            terms["pseudo"] = self.weight * linear_ramp(step.progress, self.start, self.end) * loss
        return terms
