"""Deep adversarial network."""

from __future__ import annotations

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.losses import probabilities
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.critic import Critic
from segmend.networks import Network


class DAN(Method):
    r"""A critic distinguishes predictions for labelled and unlabelled scans, until they look the same.

    The critic D sees probabilities p and image x, and learns which scans have an expert label:

        L = L_sup(expert)
            + w \lambda(t) CE(D(p, x), labelled) on the others      (moves the network only)
            + CE(D(p, x), labelled or not) on all                   (moves the critic only).

    Deviations from the paper: ``docs/methods/DAN.md``.

    Args:
        network: the network that segments.
        adversarial: w, the final weight of the critic's judgement.
        ramp_length: fraction of the run after which that weight is reached; 0 uses it from the start.
        critic_width: channels of the critic's first layer.
    """

    kind = "semi"
    paper = "Zhang et al., Deep adversarial networks for biomedical image segmentation, MICCAI 2017"
    cost = "1 network, 2 passes of a critic"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self, network: Network, *, adversarial: float = 0.1, ramp_length: float = 1.0, critic_width: int = 64
    ) -> None:
        super().__init__(network)
        self.critic = Critic(network, network.arguments["classes"], critic_width)
        self.adversarial, self.ramp_length = adversarial, ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``adversarial`` and ``critic``."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if others:
            maps = probabilities(logits)
            weight = self.adversarial * sigmoid_ramp(step.progress, self.ramp_length)
            terms["adversarial"] = weight * self.critic.adversarial_loss(maps[others], batch.image[others])
            terms["critic"] = self.critic.own_loss(maps, batch.image, expert)
        return terms
