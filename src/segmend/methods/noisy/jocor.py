"""Joint training with co-regularisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.consistency import joint_loss
from segmend.functional.selection import Scope
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Step
from segmend.methods._two_networks import Prediction, TwoNetworks
from segmend.methods.components.small_loss import SmallLossSelection
from segmend.networks import Network


class JoCoR(TwoNetworks):
    r"""Two networks learn from the labels that both find easy and for which both agree.

    \ell = (1 - \lambda) (CE(p_1, y) + CE(p_2, y)) + \lambda (KL(p_1 || p_2) + KL(p_2 || p_1)) is the joint loss of a
    voxel. Both networks minimise its mean over the voxels where it is smallest; their fraction decreases from 1 to
    1 - \tau as in co-teaching, but there is one selection for both, and no exchange.

    Deviations from the paper: ``docs/methods/JoCoR.md``.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        noise_rate: \tau, one for all labels or, in the scope 'class', one for each class, background first.
        co_lambda: \lambda, the weight of agreement, 0..1.
        ramp_length: fraction of the run after which the fraction \tau is left out.
        exponent: above 1, the exclusion starts more slowly.
        scope: what competes for a small loss: all voxels of the batch, the voxels labelled as one 'class', or whole
            samples by their mean loss.
        prediction: of the first network (paper), of the second, or the mean of both.
    """

    kind = "noisy"
    paper = "Wei et al., Combating noisy labels by agreement: A joint training method with co-regularization, CVPR 2020"
    needs = Composition(any_labelled=4)

    def __init__(
        self,
        network: Network,
        *,
        noise_rate: float | Sequence[float] = 0.2,
        co_lambda: float = 0.65,
        ramp_length: float = 0.05,
        exponent: float = 1.0,
        scope: Scope = "pixel",
        prediction: Prediction = "first",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self.co_lambda = co_lambda
        self._small_loss = SmallLossSelection(
            network, noise_rate=noise_rate, ramp_length=ramp_length, exponent=exponent, scope=scope
        )

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``supervised`` and ``agreement``, of both networks together."""
        rows = batch.labelled
        if not rows:
            return {}
        image, label = batch.image[rows], batch.label[rows]
        supervised, agreement = joint_loss(self.network(image), self.peer(image), label, self.co_lambda)
        chosen = self._small_loss.select(supervised + agreement, label, label != IGNORE, step.progress)
        return {"supervised": masked_mean(supervised, chosen), "agreement": masked_mean(agreement, chosen)}
