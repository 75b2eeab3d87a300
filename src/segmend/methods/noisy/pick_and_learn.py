"""Pick-and-learn."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.weighting import bounded_softmax
from segmend.methods._base import Method, Step
from segmend.methods.components.quality_network import QualityNetwork
from segmend.networks import Network


class PickAndLearn(Method):
    r"""A second network scores image and label, and so determines the weight of the sample.

    With its score q_i of sample i and the loss L_i of the segmentation,

        L = sum_i w_i L_i,    w = softmax_i(\lambda tanh(q_i)) over the batch.

    The quality network has no quality labels: to lower L it must give large weights to the labels that the segmentation
    network finds easy, which are those consistent with the others. \lambda bounds how much the weights can differ
    ("overfitting control"), so that no batch is reduced to one sample.

    Deviations from the paper: ``docs/methods/PickAndLearn.md``.

    Args:
        network: the network that segments.
        bound: \lambda; 0 weights all samples equally.
        width: channels of the quality network's first stage; VGG16 has 64.
    """

    kind = "noisy"
    paper = "Zhu et al., Pick-and-learn: automatic quality evaluation for noisy-labeled image segmentation, MICCAI 2019"
    cost = "1 network, and a small one that scores labels"
    needs = Composition(any_labelled=4)

    def __init__(self, network: Network, *, bound: float = 2.0, width: int = 16) -> None:
        super().__init__(network)
        self.quality = QualityNetwork.matching(network, width)
        self.bound = bound

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``weighted``."""
        rows = batch.labelled
        image, label = batch.image[rows], batch.label[rows]
        samples = zip(self.network(image).unsqueeze(1), label.unsqueeze(1), strict=True)
        losses = torch.stack([cross_entropy_dice(logits, truth) for logits, truth in samples])
        return {"weighted": (self.weights(image, label) * losses).sum()}

    def weights(self, image: Tensor, label: Tensor) -> Tensor:
        """Return the weight of each sample of a batch.

        Args:
            image: ``[B, channels, *spatial]``.
            label: ``[B, *spatial]`` class indices.

        Returns:
            ``[B]``, summing to 1; 0 for samples whose label is ``IGNORE`` everywhere.
        """
        return bounded_softmax(self.quality(image, label), self.bound, (label != IGNORE).flatten(1).any(1))
