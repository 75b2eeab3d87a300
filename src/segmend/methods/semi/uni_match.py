"""UniMatch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.copy_paste import paste, random_cuboids
from segmend.functional.dice import cross_entropy_dice, squared_dice_loss
from segmend.functional.losses import cross_entropy, probabilities
from segmend.functional.perturbations import strong_intensities
from segmend.functional.soft_labels import one_hot
from segmend.methods._base import Method, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.sub_modules import members, sub_modules
from segmend.networks import Network
from segmend.networks.blocks import channel_dropout


class UniMatch(Method):
    r"""What a network is sure of on a scan is the label of strong views of the scan, and of its features with dropout.

    With the prediction p on a sample as it is, \hat y = argmax p where max p is at least a threshold, two strong views
    s_1 and s_2 (contrast, brightness, blur, and CutMix between unlabelled samples), and the network passed with half of
    its encoder's channels dropped, p_f,

        L = 1/2 [ L_sup(expert) + a (\ell(p(s_1), \hat y) + \ell(p(s_2), \hat y)) + b \ell(p_f, \hat y) ].

    The last three are on samples without an expert label. No gradient passes through \hat y, which is cut and pasted
    as the views are.

    Deviations from the paper: ``docs/methods/UniMatch.md``.

    Args:
        network: the network.
        threshold: least probability of a pseudo label, 0..1.
        strong: a, the weight of each strong view.
        perturbed: b, the weight of the pass with dropped features.
        drop_rate: probability that a channel of the encoder's features is dropped.
        cutmix: probability that a part of another unlabelled sample is pasted into a strong view.
        pseudo_loss: \ell, 'dice' of the voxels with a pseudo label, or 'cross_entropy', 0 at voxels without one.
        encoder_features: what is dropped from; all stages of the network's encoder by default.
    """

    kind = "semi"
    paper = "Yang et al., Revisiting weak-to-strong consistency in semi-supervised semantic segmentation, CVPR 2023"
    cost = "1 network, 4 passes of unlabelled samples"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        threshold: float = 0.95,
        strong: float = 0.25,
        perturbed: float = 0.5,
        drop_rate: float = 0.5,
        cutmix: float = 0.5,
        pseudo_loss: Literal["dice", "cross_entropy"] = "dice",
        encoder_features: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        names = members(network, encoder_features or network.encoder_stages)
        sub_modules(network, names, "encoder feature", "encoder_features")
        self._taps = FeatureTaps(network, names)
        self._dropout = channel_dropout(drop_rate, network.arguments["dimensions"])
        self.threshold, self.strong, self.perturbed = threshold, strong, perturbed
        self.cutmix, self.pseudo_loss = cutmix, pseudo_loss

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``strong`` (both views together) and ``perturbed``."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        with self._taps.recording(attached=True) as features:
            logits = self.network(batch.image)
        terms = {"expert": 0.5 * cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if others:
            image = batch.image[others]
            probability, classes = probabilities(logits[others].detach()).max(1)
            sure = probability >= self.threshold
            with self._taps.replaced([self._dropout(each[others]) for each in features]):
                perturbed = self.network(image)
            terms["perturbed"] = 0.5 * self.perturbed * self._followed(perturbed, classes, sure)
            partners = [*range(1, len(others)), 0]
            boxes = random_cuboids(2 * len(others), image.shape[2:], self.cutmix, image.device).chunk(2)
            views = [strong_intensities(image) for _ in boxes]
            views = [paste(view, view[partners], box) for view, box in zip(views, boxes, strict=True)]
            losses = [
                self._followed(seen, *(paste(each, each[partners], box) for each in (classes, sure)))
                for seen, box in zip(self.network(torch.cat(views)).chunk(2), boxes, strict=True)
            ]
            terms["strong"] = 0.5 * self.strong * torch.stack(losses).sum()
        return terms

    def _followed(self, logits: Tensor, classes: Tensor, sure: Tensor) -> Tensor:
        """Loss of logits with pseudo labels ``classes``, where they are ``sure``."""
        if self.pseudo_loss == "cross_entropy":
            return (cross_entropy(logits, classes) * sure).mean()
        counted, target = sure.unsqueeze(1), one_hot(classes, logits.shape[1])
        return squared_dice_loss(probabilities(logits) * counted, target * counted).mean()
