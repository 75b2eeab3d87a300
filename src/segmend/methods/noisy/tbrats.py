"""Trusted segmentation by evidence."""

from __future__ import annotations

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.dice import squared_dice_loss
from segmend.functional.ramps import linear_ramp
from segmend.functional.soft_labels import one_hot
from segmend.functional.uncertainty import dirichlet, expected_cross_entropy, misleading_evidence, vacuity
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.networks import Network


class TBraTS(Method):
    r"""Collects evidence for each class, and reports where there is too little of it.

    Logits z make a Dirichlet distribution over the probabilities, \alpha = softplus(z) + 1. With S = sum_c \alpha_c the
    prediction is p = \alpha / S and its uncertainty u = C / S, 1 where there is no evidence for any class. Training
    minimises

        L = mean (\psi(S) - \psi(\alpha_y)) + \lambda_s Dice(p, y) + \lambda_p g(t) mean KL(Dir(\~\alpha) || Dir(1)),

    the expected cross-entropy, the Dice loss, and whatever evidence there is for other classes than the label's, which
    is \~\alpha. g increases linearly from 0 to 1.

    Deviations from the paper: ``docs/methods/TBraTS.md``.

    Args:
        network: the network; its logits mean evidence.
        dice: \lambda_s.
        divergence: \lambda_p.
        ramp_length: fraction of the run after which g is 1.
    """

    kind = "noisy"
    paper = "Zou et al., TBraTS: Trusted brain tumor segmentation, MICCAI 2022"
    cost = "1 network"
    needs = Composition(any_labelled=4)

    def __init__(
        self, network: Network, *, dice: float = 1.0, divergence: float = 0.2, ramp_length: float = 0.25
    ) -> None:
        super().__init__(network)
        self.dice, self.divergence, self.ramp_length = dice, divergence, ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expected``, ``dice`` and ``misleading``."""
        rows = batch.labelled
        if not rows:
            return {}
        alpha, label = dirichlet(self.network(batch.image[rows])), batch.label[rows]
        known = label != IGNORE
        probabilities = alpha / alpha.sum(1, keepdim=True) * known.unsqueeze(1)
        weight = self.divergence * linear_ramp(step.progress, 0.0, self.ramp_length)
        return {
            "expected": masked_mean(expected_cross_entropy(alpha, label), known),
            "dice": self.dice * squared_dice_loss(probabilities, one_hot(label, alpha.shape[1])).mean(),
            "misleading": weight * masked_mean(misleading_evidence(alpha, label), known),
        }

    def predict(self, image: Tensor) -> Tensor:
        """Mean probabilities of the distribution, ``[B, C, *spatial]``."""
        alpha = dirichlet(self.network(image))
        return alpha / alpha.sum(1, keepdim=True)

    def uncertainty(self, image: Tensor) -> Tensor:
        """Uncertainty u of images ``[B, channels, *spatial]``: ``[B, *spatial]``, above 0, to 1."""
        return vacuity(dirichlet(self.network(image)))
