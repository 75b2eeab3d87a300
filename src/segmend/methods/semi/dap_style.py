"""A reconstruction in the style of adversarial learning with a deep atlas prior."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy, probabilities
from segmend.functional.soft_labels import one_hot
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods.components.atlas import Atlas
from segmend.methods.components.patch_critic import PatchCritic, likeness_loss, taken_for_labels
from segmend.networks import Network


class DAPStyle(Method):
    r"""A critic makes predictions look like labels, and labels count more where atlas or network did not expect them.

    The atlas A holds how often each class is at each place of the scans, by the expert labels seen so far. With the
    network's own probability p_y of the label, kept constant, and a critic D that distinguishes labels and predictions,

        L = mean (a + b) / 2 CE(expert),    a = 1 - A_y,  b = (1 - p_y)^2
            + \alpha_l BCE(D(p), label) on expert samples + \alpha_u BCE(D(p), label) on the others
            + \beta mean CE(p, argmax p) on the others where D takes p for a label
            + the critic's own loss.

    This is a reconstruction after the paper's abstract, since neither equations nor code could be read:
    ``docs/methods/DAPStyle.md``.

    Args:
        network: the network that segments.
        combine: weight of a voxel: (a + b) / 2, the 'mean', or a b, the 'product'.
        labelled: \alpha_l.
        unlabelled: \alpha_u.
        pseudo: \beta.
        threshold: probability of 'is a label' above which a prediction is learned from.
        warm_up: fraction of the run that passes before that.
        cells: of the atlas along each axis.
        critic_width: channels of the critic's first layer.
    """

    kind = "semi"
    paper = (
        "Zheng et al., Semi-supervised segmentation of liver using adversarial learning with deep atlas prior, "
        "MICCAI 2019"
    )
    cost = "1 network, 3 passes of a critic"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        combine: Literal["mean", "product"] = "mean",
        labelled: float = 0.1,
        unlabelled: float = 0.001,
        pseudo: float = 0.1,
        threshold: float = 0.2,
        warm_up: float = 0.25,
        cells: int = 16,
        critic_width: int = 64,
    ) -> None:
        super().__init__(network)
        self.atlas, self.critic = Atlas(network.arguments["classes"], cells), PatchCritic(network, critic_width)
        self.combine, self.labelled, self.unlabelled = combine, labelled, unlabelled
        self.pseudo, self.threshold, self.warm_up = pseudo, threshold, warm_up

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``adversarial``, after the warm-up ``pseudo``, and ``critic``."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        logits = self.network(batch.image)
        maps = probabilities(logits)
        judged = self.critic.judged(maps)
        label, known = batch.label[expert], batch.label[expert] != IGNORE
        terms = {}
        if expert:
            place = None if batch.place is None else batch.place[expert]
            weights = self._weights(self.atlas.prior(label, place), maps[expert].detach(), label)
            terms["expert"] = masked_mean(weights * cross_entropy(logits[expert], label), known)
            terms["adversarial"] = self.labelled * masked_mean(likeness_loss(judged[expert]), known)
            terms["critic"] = self.critic.own_loss(maps, one_hot(label, maps.shape[1]))
            self.atlas.add(label, place)
        if others:
            of_others = self.unlabelled * likeness_loss(judged[others]).mean()
            terms["adversarial"] = terms["adversarial"] + of_others if expert else of_others
            if step.progress >= self.warm_up:
                followed = taken_for_labels(judged[others], self.threshold)
                guessed = cross_entropy(logits[others], logits[others].detach().argmax(1))
                terms["pseudo"] = self.pseudo * masked_mean(guessed, followed)
        return terms

    def _weights(self, prior: Tensor, maps: Tensor, label: Tensor) -> Tensor:
        own = (one_hot(label, maps.shape[1]) * maps).sum(1)
        unexpected, unlearned = 1 - prior, (1 - own).square()
        return unexpected * unlearned if self.combine == "product" else (unexpected + unlearned) / 2
