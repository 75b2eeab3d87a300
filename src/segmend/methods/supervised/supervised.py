"""Plain supervised training: the yardstick."""

from __future__ import annotations

from torch import Tensor

from segmend.data.batch import Batch
from segmend.data.case import Quality
from segmend.data.sampling import Composition
from segmend.functional.supervision import cross_entropy_dice
from segmend.methods._base import Method, Step
from segmend.networks import Network


class Supervised(Method):
    """Trains on every label it is given as if it were right.

    The loss is half cross-entropy, half squared Dice over all classes, on all labelled samples of the
    batch. What it is a baseline for depends on the batch: expert labels only (``--expert 4``, the H-Sup
    row of PLIL's Table 1), all labels drawn alike (the default, HL-Sup), or expert and noisy samples in
    fixed numbers (``--expert 2 --noisy 2``). Unlabelled samples are not looked at.

    Args:
        network: the network to train.
    """

    kind = "supervised"
    needs = Composition(mixed=4)

    def __init__(self, network: Network) -> None:
        super().__init__(network)

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``supervised``."""
        rows = batch.rows(Quality.EXPERT, Quality.NOISY)
        return {"supervised": cross_entropy_dice(self.network(batch.image[rows]), batch.label[rows])}
