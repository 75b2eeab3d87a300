"""Tri-network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.functional.selection import Scope
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods._two_networks import mean_probabilities
from segmend.methods.components.peers import reinitialised_copy
from segmend.methods.components.small_loss import SmallLossSelection
from segmend.networks import Network


class TriNet(Method):
    r"""Among three networks, each pair selects the voxels that the third one learns from.

    With the cross-entropy \ell_i of network i at a voxel, and S(v) those 1 - \tau min(t / t_k, 1) of all labelled
    voxels where v is smallest (t is the completed fraction of the run), network i with the peers j and k has

        L_i = mean_{m_i} \ell_i,    consensus: m_i = S(\ell_j) and S(\ell_k),    difference: m_i = S(|\ell_j - \ell_k|).

    Deviations from the paper: ``docs/methods/TriNet.md``.

    Args:
        network: the first network; the others have its architecture and their own random initialisations.
        rule: 'consensus', 'difference', or 'both'.
        noise_rate: \tau, one for all labels or, in the scope 'class', one for each class, background first.
        ramp_length: t_k.
        scope: what competes: all voxels of the batch, the voxels labelled as one 'class', or whole samples by their
            mean value.
        prediction: of the 'first' network, or the 'mean' of all.
    """

    kind = "noisy"
    paper = "Zhang et al., Robust medical image segmentation from non-expert annotations with tri-network, MICCAI 2020"
    cost = "3 networks"
    needs = Composition(any_labelled=4)

    def __init__(
        self,
        network: Network,
        *,
        rule: Literal["consensus", "difference", "both"] = "consensus",
        noise_rate: float | Sequence[float] = 0.1,
        ramp_length: float = 0.8,
        scope: Scope = "pixel",
        prediction: Literal["first", "mean"] = "first",
    ) -> None:
        super().__init__(network)
        self.second, self.third = reinitialised_copy(network), reinitialised_copy(network)
        self._small = SmallLossSelection(
            network, noise_rate=noise_rate, ramp_length=ramp_length, exponent=1.0, scope=scope
        )
        self.rule, self.prediction = rule, prediction

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``selected``, the sum of the three networks'."""
        rows = batch.labelled
        image, label = batch.image[rows], batch.label[rows]
        losses = [cross_entropy(network(image), label) for network in (self.network, self.second, self.third)]
        values = [each.detach() for each in losses]
        small = partial(self._small.select, label=label, among=label != IGNORE, progress=step.progress)
        masks: list[list[Tensor]] = [[] for _ in losses]
        if self.rule != "difference":
            by_one = [small(each) for each in values]
            masks = [[by_one[turn - 1], by_one[turn - 2]] for turn in range(3)]
        if self.rule != "consensus":
            for turn, of_pair in enumerate(masks):
                of_pair.append(small((values[turn - 1] - values[turn - 2]).abs()))
        terms = [masked_mean(own, torch.stack(of_pair).all(0)) for own, of_pair in zip(losses, masks, strict=True)]
        return {"selected": torch.stack(terms).sum()}

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities of the first network, or the mean of all."""
        networks = (self.network, self.second, self.third)[: 1 if self.prediction == "first" else 3]
        return mean_probabilities(networks, image)
