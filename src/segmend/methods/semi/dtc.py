"""Dual-task consistency."""

from __future__ import annotations

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import foreground_dice
from segmend.functional.losses import probabilities
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.distance_head import DistanceHead
from segmend.networks import Network


class DTC(Method):
    r"""Classes and signed distances to the object's boundary are predicted, and trained to agree on all scans.

    A second head predicts the signed distance map s of each object, whose target m is negative inside and 0 on the
    boundary. A steep sigmoid makes it a probability again, and with the object's probability p,

        L = L_Dice(p, expert) + a mean (s - m)^2 on expert samples
            + w \lambda(t) mean (sigmoid(-k s) - p)^2 on all samples.

    Gradients flow into both sides of the last term. With several classes each has its own map and term.

    Deviations from the paper: ``docs/methods/DTC.md``.

    Args:
        network: the network; its classes predict.
        distance: a, the weight of the distance maps.
        consistency: w, the final weight of the agreement.
        steepness: k.
        ramp_length: fraction of the run after which w is reached; 0 uses it from the start.
        features: sub-module that the second head reads; the finest of the network's decoder scales by default.
    """

    kind = "semi"
    paper = "Luo et al., Semi-supervised medical image segmentation through dual-task consistency, AAAI 2021"
    cost = "1 network with 2 heads; distance maps of the labels on the CPU"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        distance: float = 0.3,
        consistency: float = 1.0,
        steepness: float = 1500.0,
        ramp_length: float = 1.0,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        self.distances = DistanceHead(network, features)
        self.distance, self.consistency = distance, consistency
        self.steepness, self.ramp_length = steepness, ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``distance`` and ``consistency``."""
        expert = batch.rows(Quality.EXPERT)
        logits, distances = self.distances(batch.image)
        weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length)
        objects = (-self.steepness * distances).sigmoid()
        terms = {"consistency": weight * squared_difference(objects, probabilities(logits)[:, 1:]).mean()}
        if expert:
            label = batch.label[expert]
            terms["expert"] = foreground_dice(logits[expert], label)
            terms["distance"] = self.distance * self.distances.loss(distances[expert], label)
        return terms
