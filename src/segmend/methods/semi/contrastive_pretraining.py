"""Pre-training by global and local contrast."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.contrast import groups_of, mean_over_positives, pair_losses
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.perturbations import strong_intensities
from segmend.methods._base import Method, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.meta_labels import meta_labels
from segmend.methods.components.projections import Projections
from segmend.methods.components.sub_modules import members
from segmend.networks import Network


class ContrastivePretraining(Method):
    r"""First the encoder learns to tell parts of the body apart, then the decoder regions of an image; then both train.

    Two views of each sample differ in intensities. With projections of features, s their cosine by a temperature, and

        l(i, j) = -log( e^{s_ij} / (e^{s_ij} + sum_{k negative} e^{s_ik}) ),

    the mean over positive pairs is minimised, first for mean features of the encoder: slices of the same part of their
    scans are positives, those of other parts negatives. Then, with the encoder fixed, it is that of regions of a
    decoder feature: the same region in the other view is the positive, all other regions of the image are negatives.
    At last the network is trained on expert labels.

    Deviations from the paper: ``docs/methods/ContrastivePretraining.md``.

    Args:
        network: the network.
        encoder_phase: fraction of the run in which the encoder is pre-trained.
        decoder_phase: fraction of the run after that in which the decoder is; 0 leaves it out.
        partitions: parts that a scan is divided into along its last axis.
        regions: of an image along every axis, for the decoder.
        temperature: of the similarities.
        features: decoder feature; the coarsest of the network's decoder scales by default.
        encoder_features: encoder feature; the network's coarsest by default.
    """

    kind = "semi"
    paper = (
        "Chaitanya et al., Contrastive learning of global and local features for medical image segmentation, "
        "NeurIPS 2020"
    )
    cost = "1 network, passed with two views of each sample in the pre-training"
    needs = Composition(expert=2, unlabelled=6)

    def __init__(
        self,
        network: Network,
        *,
        encoder_phase: float = 1 / 3,
        decoder_phase: float = 1 / 6,
        partitions: int = 4,
        regions: int = 4,
        temperature: float = 0.1,
        features: str | None = None,
        encoder_features: str | None = None,
    ) -> None:
        super().__init__(network)
        stages = members(network, network.encoder_stages)
        bottom = [encoder_features] if encoder_features else stages[-1:]
        scale = [features] if features else list(network.decoder_scales[:1])
        self._encoder, self._decoder = FeatureTaps(network, bottom), FeatureTaps(network, scale)
        self._fixed = FeatureTaps(network, stages or bottom)
        self.of_encoder, self.of_decoder = Projections(network, bottom, 128), Projections(network, scale, 128)
        self.encoder_phase, self.decoder_phase = encoder_phase, decoder_phase
        self.partitions, self.regions, self.temperature = partitions, regions, temperature

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``global``, then ``local``, then ``expert``."""
        if step.progress < self.encoder_phase:
            return {"global": self._global(batch)}
        if step.progress < self.encoder_phase + self.decoder_phase:
            return {"local": self._local(batch)}
        expert = batch.rows(Quality.EXPERT)
        if not expert:
            return {}
        return {"expert": cross_entropy_dice(self.network(batch.image[expert]), batch.label[expert])}

    def _global(self, batch: Batch) -> Tensor:
        with self._encoder.recording(attached=True) as tapped:
            self.network(_views(batch.image))
        (vectors,) = self.of_encoder(tapped)
        positive, negative = groups_of(meta_labels(batch, "position", self.partitions).repeat(2))
        return self._mean(vectors[:, 0], positive, negative)

    def _local(self, batch: Batch) -> Tensor:
        with self._fixed.constant(), self._decoder.recording(attached=True) as tapped:
            self.network(_views(batch.image))
        (vectors,) = self.of_decoder(tapped, self.regions)
        # Both views of an image together: [B, 2 * regions, width].
        pairs = torch.cat(vectors.chunk(2), 1)
        same = torch.arange(vectors.shape[1], device=vectors.device).repeat(2)
        return self._mean(pairs, *groups_of(same))

    def _mean(self, vectors: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        losses = pair_losses(vectors, positive, negative, self.temperature, others="negatives")
        return mean_over_positives(losses, positive)


def _views(image: Tensor) -> Tensor:
    return torch.cat([strong_intensities(image), strong_intensities(image)])
