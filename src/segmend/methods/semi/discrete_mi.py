"""Regularisation by discrete mutual information."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.geometry import Flip
from segmend.functional.losses import probabilities
from segmend.functional.mutual_information import discrete_mutual_information
from segmend.methods._base import Method, Step
from segmend.methods.components.cluster_heads import ClusterHeads
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.sub_modules import members, sub_modules
from segmend.networks import Network

_MIRRORED = 0.8
"""Probability of mirroring along an axis."""


class DiscreteMI(Method):
    r"""Features of an unlabelled scan and of its mirror image fall into the same clusters.

    Heads on features f_k assign each voxel to one of K clusters. With a random mirroring g, I the mutual information
    of two assignments, and the mean weighted by a_k,

        L = L_sup(expert) + c mean (p(g x) - g p(x))^2 - m mean_k I(g h_k(f_k(x)), h_k(f_k(g x))) on the other samples.

    Mutual information is high if both views agree and the clusters are equally large. Features of the encoder are
    averaged over the image first (a_k = 1); those of the decoder (a_k = 1/2) are compared voxel by voxel, and with
    small shifts. The prediction g p(x) is a constant; the heads are not used after training.

    Deviations from the paper: ``docs/methods/DiscreteMI.md``.

    Args:
        network: the network.
        consistency: c.
        information: m.
        clusters: K.
        heads: independent heads on each feature, whose mean counts.
        padding: largest shift in voxels for each decoder feature.
        subtract_minimum: as in ``discrete_mutual_information``, for decoder features.
        features: decoder features; the two finest of the network's scales by default.
        encoder_features: encoder features; the network's coarsest by default.
    """

    kind = "semi"
    paper = (
        "Peng et al., Boosting semi-supervised image segmentation with global and local mutual information, MELBA 2021"
    )
    cost = "1 network, passed again with the unlabelled samples mirrored"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        consistency: float = 5.0,
        information: float = 0.1,
        clusters: int = 20,
        heads: int = 5,
        padding: Sequence[int] = (1, 1),
        subtract_minimum: bool = True,
        features: Sequence[str] | None = None,
        encoder_features: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        encoder = list(encoder_features or members(network, network.encoder_stages)[-1:])
        decoder = list(features or network.decoder_scales[-2:])
        if len(padding) < len(decoder):
            problem = f"has {len(padding)} values, for {len(decoder)} decoder features"
            raise InputError("method.padding", problem, "give one for each, from coarse to fine", code="mismatch")
        sub_modules(network, encoder, "encoder feature", "encoder_features")
        sub_modules(network, decoder, "decoder feature", "features")
        self._taps = FeatureTaps(network, [*encoder, *decoder])
        self.heads = ClusterHeads(network, [*encoder, *decoder], clusters, heads)
        self.consistency, self.information = consistency, information
        self.subtract_minimum = subtract_minimum
        self._shifts = [None] * len(encoder) + list(padding[len(padding) - len(decoder) :])

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``consistency`` and ``information``; the last is negative."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        mirror = Flip(torch.rand(len(others), batch.image.ndim - 2) < _MIRRORED)
        seen = torch.cat([batch.image, mirror(batch.image[others])]) if others else batch.image
        with self._taps.recording(attached=True) as tapped:
            logits = self.network(seen)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if others:
            views = [*others, *range(len(batch.image), len(seen))]
            first, second = probabilities(logits[views]).chunk(2)
            terms["consistency"] = self.consistency * squared_difference(second, mirror(first.detach())).mean()
            terms["information"] = -self.information * self._information([each[views] for each in tapped], mirror)
        return terms

    def _information(self, features: Sequence[Tensor], mirror: Flip) -> Tensor:
        """Weighted mean over the features; the first half of the rows is seen as it is, the second half mirrored."""
        spatial = tuple(range(2, features[0].ndim))
        pairs = zip(features, self._shifts, strict=True)
        pooled = [each.float().mean(spatial, keepdim=True) if shift is None else each for each, shift in pairs]
        total, weights = features[0].new_zeros((), dtype=torch.float32), 0.0
        for assigned, shift in zip(self.heads(pooled), self._shifts, strict=True):
            first, second = assigned.chunk(2)
            # Mirroring leaves what is averaged over the image as it is.
            first = mirror(first.flatten(1, 2)).view_as(first)
            subtract, weight = self.subtract_minimum and shift is not None, 1.0 if shift is None else 0.5
            information = discrete_mutual_information(first, second, shift or 0, subtract_minimum=subtract)
            total, weights = total + weight * information.mean(), weights + weight
        return total / weights
