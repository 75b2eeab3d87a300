"""Bootstrapping."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.losses import probabilities, soft_cross_entropy
from segmend.functional.ramps import linear_ramp
from segmend.functional.soft_labels import one_hot
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.networks import Network


class Bootstrapping(Method):
    r"""Trains on a mixture of the given label and the network's own prediction.

    L = CE(p, \beta y + (1 - \beta) \hat y), where \hat y is the predicted class ('hard') or p itself ('soft').

    A label that contradicts what the network has learned from all the others has a smaller gradient than one that fits.
    The soft form is \beta CE(p, y) + (1 - \beta) H(p), entropy minimisation, as gradients pass through \hat y too.

    Deviations from the paper: ``docs/methods/Bootstrapping.md``.

    Args:
        network: the network.
        variant: 'hard' or 'soft'.
        beta: \beta; by default the paper's, 0.8 (hard) and 0.95 (soft).
        warm_up: fraction of the run after which the network's own prediction has weight 1 - \beta.
        detach: no gradient passes through the soft \hat y, which makes it a soft pseudo label.
    """

    kind = "noisy"
    paper = "Reed et al., Training deep neural networks on noisy labels with bootstrapping, ICLR Workshop 2015"
    cost = "1 network"
    needs = Composition(any_labelled=4)

    def __init__(
        self,
        network: Network,
        *,
        variant: Literal["hard", "soft"] = "hard",
        beta: float | None = None,
        warm_up: float = 0.3,
        detach: bool = False,
    ) -> None:
        super().__init__(network)
        self.variant, self.warm_up, self.detach = variant, warm_up, detach
        self.beta = beta if beta is not None else {"hard": 0.8, "soft": 0.95}[variant]

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``bootstrapped``."""
        rows = batch.labelled
        if not rows:
            return {}
        logits, label = self.network(batch.image[rows]), batch.label[rows]
        known = label != IGNORE
        own = self._own(logits) * known.unsqueeze(1)
        share = (1 - self.beta) * linear_ramp(step.progress, 0.0, self.warm_up)
        target = torch.lerp(one_hot(label, logits.shape[1]), own, share)
        return {"bootstrapped": masked_mean(soft_cross_entropy(logits, target), known)}

    def _own(self, logits: Tensor) -> Tensor:
        if self.variant == "hard":
            return one_hot(logits.argmax(1), logits.shape[1])
        return probabilities(logits.detach() if self.detach else logits)
