"""Early-learning regularisation."""

from __future__ import annotations

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy, early_learning
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class ELR(Method):
    r"""Stays close to its early predictions, made before it memorised the wrong labels.

    L = mean CE(p, y) + \lambda mean log(1 - <p, t>),

    where t is the earlier prediction at the voxel. The second term is negative and decreases as p approaches t. Its
    gradient grows with the confidence of both, so labels that contradict t lose their influence, whereas labels that
    agree with it keep theirs.

    Deviations from the paper: ``docs/methods/ELR.md``.

    Args:
        network: the student; the teacher, which keeps the early predictions, starts as its copy.
        weight: \lambda; 1, 3 and 7 in the paper, by data set.
        ramp_length: fraction of the run after which that weight is reached.
        decay: largest decay of the moving average.
    """

    kind = "noisy"
    paper = "Liu et al., Early-learning regularization prevents memorization of noisy labels, NeurIPS 2020"
    cost = "1 network, 1 teacher pass"
    needs = Composition(any_labelled=4)

    def __init__(self, network: Network, *, weight: float = 3.0, ramp_length: float = 0.3, decay: float = 0.99) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.weight, self.ramp_length = weight, ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``supervised`` and ``early``, which is negative."""
        rows = batch.labelled
        if not rows:
            return {}
        image, label = batch.image[rows], batch.label[rows]
        logits, known = self.network(image), label != IGNORE
        weight = self.weight * sigmoid_ramp(step.progress, self.ramp_length)
        return {
            "supervised": masked_mean(cross_entropy(logits, label), known),
            "early": weight * masked_mean(early_learning(logits, self.teacher.predict(image)), known),
        }
