"""Co-teaching."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.functional.selection import Scope
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Step
from segmend.methods._two_networks import Prediction, TwoNetworks
from segmend.methods.components.small_loss import SmallLossSelection
from segmend.networks import Network


class CoTeaching(TwoNetworks):
    r"""Two networks select training labels for each other: those with the smallest losses.

    With \ell_i the cross-entropy of network i, and R_i the voxels where it is smallest,

        L = mean_{R_2} \ell_1 + mean_{R_1} \ell_2,      |R_i| = 1 - \tau min((t / t_k)^c, 1) of all,

    where t is the completed fraction of the run. An error of one network is not fed back to it directly. With
    ``disagreement`` (co-teaching+, Yu et al., ICML 2019) both choose, after a warm-up, only among the voxels for which
    they predict different classes, so that the two stay different.

    Deviations from the paper: ``docs/methods/CoTeaching.md``.

    Args:
        network: the first network; the second has its architecture and its own random initialisation.
        noise_rate: \tau, one for all labels or, in the scope 'class', one for each class, background first.
        ramp_length: t_k.
        exponent: c.
        scope: what competes for a small loss: all voxels of the batch, the voxels labelled as one 'class', or whole
            samples by their mean loss.
        disagreement: choose only among voxels that the networks disagree on.
        warm_up: fraction of the run before that.
        prediction: of the first network (paper), of the second, or the mean of both.
    """

    kind = "noisy"
    paper = "Han et al., Co-teaching: Robust training of deep networks with extremely noisy labels, NeurIPS 2018"
    needs = Composition(any_labelled=4)

    def __init__(
        self,
        network: Network,
        *,
        noise_rate: float | Sequence[float] = 0.2,
        ramp_length: float = 0.05,
        exponent: float = 1.0,
        scope: Scope = "pixel",
        disagreement: bool = False,
        warm_up: float = 0.1,
        prediction: Prediction = "first",
    ) -> None:
        super().__init__(network, prediction=prediction)
        self._small_loss = SmallLossSelection(
            network, noise_rate=noise_rate, ramp_length=ramp_length, exponent=exponent, scope=scope
        )
        self.disagreement, self.warm_up = disagreement, warm_up

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``chosen``, of both networks together."""
        rows = batch.labelled
        if not rows:
            return {}
        image, label = batch.image[rows], batch.label[rows]
        first, second = self.network(image), self.peer(image)
        among = label != IGNORE
        if self.disagreement and step.progress >= self.warm_up:
            among = _disagreeing(first, second, label, among)
        losses = cross_entropy(first, label), cross_entropy(second, label)
        by_first, by_second = (self._small_loss.select(each, label, among, step.progress) for each in losses)
        return {"chosen": masked_mean(losses[0], by_second) + masked_mean(losses[1], by_first)}


def _disagreeing(first: Tensor, second: Tensor, label: Tensor, known: Tensor) -> Tensor:
    """Known voxels with two predictions, or all known voxels if a labelled class would have none."""
    apart = known & (first.argmax(1) != second.argmax(1))
    in_both = [label[voxels].bincount(minlength=first.shape[1]) > 0 for voxels in (apart, known)]
    return apart if torch.equal(*in_both) else known
