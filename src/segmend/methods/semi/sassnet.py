"""Shape-aware semi-supervised segmentation."""

from __future__ import annotations

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import foreground_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.critic import Critic
from segmend.methods.components.distance_head import DistanceHead
from segmend.networks import Network


class SASSNet(Method):
    r"""Predicts signed distances too, and a critic makes those of unlabelled scans look like those of labelled ones.

    A second head predicts the signed distance map s of each object, whose target m is negative inside. A critic D sees
    map and image and learns which scans have an expert label. With the object's probability p,

        L = L_Dice(p, expert) + a mean (s - m)^2 on expert samples
            + w \lambda(t) CE(D(s, x), labelled) on the others      (moves the network only)
            + CE(D(s, x), labelled or not) on all                   (moves the critic only).

    Deviations from the paper: ``docs/methods/SASSNet.md``.

    Args:
        network: the network; its classes predict.
        distance: a, the weight of the distance maps.
        adversarial: w, the final weight of the critic's judgement.
        ramp_length: fraction of the run after which that weight is reached; 0 uses it from the start.
        ramp_stairs: if positive, the weight increases in this many discrete steps.
        critic_width: channels of the critic's first layer.
        features: sub-module that the second head reads; the finest of the network's decoder scales by default.
    """

    kind = "semi"
    paper = "Li et al., Shape-aware semi-supervised 3D semantic segmentation for medical images, MICCAI 2020"
    cost = "1 network with 2 heads, 2 passes of a critic; distance maps of the labels on the CPU"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        distance: float = 0.3,
        adversarial: float = 0.01,
        ramp_length: float = 1.0,
        ramp_stairs: int = 0,
        critic_width: int = 64,
        features: str | None = None,
    ) -> None:
        super().__init__(network)
        self.distances = DistanceHead(network, features)
        self.critic = Critic(network, network.arguments["classes"] - 1, critic_width)
        self.distance, self.adversarial = distance, adversarial
        self.ramp_length, self.ramp_stairs = ramp_length, ramp_stairs

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``distance``, ``adversarial`` and ``critic``."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        logits, distances = self.distances(batch.image)
        terms = {}
        if expert:
            label = batch.label[expert]
            terms["expert"] = foreground_dice(logits[expert], label)
            terms["distance"] = self.distance * self.distances.loss(distances[expert], label)
        if others:
            weight = self.adversarial * sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
            terms["adversarial"] = weight * self.critic.adversarial_loss(distances[others], batch.image[others])
            terms["critic"] = self.critic.own_loss(distances, batch.image, expert)
        return terms
