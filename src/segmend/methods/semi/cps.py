"""Cross pseudo supervision."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.losses import cross_entropy
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.peers import Predictor, predict_by, reinitialised_copy
from segmend.networks import Network


class CPS(Method):
    r"""Two differently initialised networks provide pseudo labels of unlabelled scans for each other.

    L = L_sup(f_1, expert) + L_sup(f_2, expert) + w \lambda(t) [ CE(f_1, argmax f_2) + CE(f_2, argmax f_1) ].

    The classes of one network are targets for the other: no gradient passes through them. Both see the same image, and
    only their random initialisation makes them differ.

    Implementation notes. The paper segments street scenes with a constant w from the first step on, on labelled
    and unlabelled samples: ``weight=1.5 ramp_length=0 cross_on=all``. In scans the first pseudo labels are all
    background, so the defaults are those of its medical ports (SSL4MIS): a small w, the sigmoid ramp \lambda over
    the run, and scans without a label only; their L_sup too. Labels of noisy samples are not used: for this
    method they are unlabelled. The paper's mixing of images (CutMix) is left out.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        weight: w, the final weight of the cross term.
        ramp_length: fraction of the run after which that weight is reached; 0 uses it from the start.
        cross_loss: 'cross_entropy', or 'cross_entropy_dice' (half each), as in PyMIC.
        cross_on: the samples whose pseudo labels are exchanged: 'unlabelled' ones or 'all'.
        prediction: of the first network (paper), of the second, or the mean of both.
    """

    kind = "semi"
    paper = "Chen et al., Semi-supervised semantic segmentation with cross pseudo supervision, CVPR 2021"
    cost = "2 networks"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        weight: float = 0.1,
        ramp_length: float = 1.0,
        cross_loss: Literal["cross_entropy", "cross_entropy_dice"] = "cross_entropy",
        cross_on: Literal["unlabelled", "all"] = "unlabelled",
        prediction: Predictor = "first",
    ) -> None:
        super().__init__(network)
        self.peer = reinitialised_copy(network)
        self.weight, self.ramp_length = weight, ramp_length
        self.cross_loss, self.cross_on = cross_loss, cross_on
        self.prediction: Predictor = prediction

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``cross``, each the sum of both networks'."""
        expert = batch.rows(Quality.EXPERT)
        crossed = batch.rows(*Quality) if self.cross_on == "all" else batch.rows(Quality.NOISY, Quality.NONE)
        one, other = self.network(batch.image), self.peer(batch.image)
        terms = {}
        if expert:
            label = batch.label[expert]
            terms["expert"] = cross_entropy_dice(one[expert], label) + cross_entropy_dice(other[expert], label)
        if crossed:
            weight = self.weight * sigmoid_ramp(step.progress, self.ramp_length)
            taught = self._taught(one[crossed], other[crossed]) + self._taught(other[crossed], one[crossed])
            terms["cross"] = weight * taught
        return terms

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities of the selected network, or of both."""
        return predict_by(self.prediction, self.network, self.peer, image)

    def _taught(self, pupil: Tensor, teacher: Tensor) -> Tensor:
        """Loss of a network's logits with the classes predicted by the other network as targets."""
        classes = teacher.argmax(1)
        if self.cross_loss == "cross_entropy":
            return cross_entropy(pupil, classes).mean()
        return cross_entropy_dice(pupil, classes)
