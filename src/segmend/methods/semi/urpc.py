"""Uncertainty-rectified pyramid consistency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import rectified_discrepancy
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.side_heads import SideHeads
from segmend.networks import Network


class URPC(Method):
    r"""Predictions from several decoder scales are trained to agree, especially where they nearly do.

    A 1-voxel convolution on each coarser scale of the decoder makes a prediction p_s in addition to the network's own.
    With their mean \bar p and the divergence D_s = KL(\bar p || p_s) at every voxel,

        L = mean_s L_sup(p_s, expert)
            + w \lambda(t) mean_s [ sum exp(-D_s) (\bar p - p_s)^2 / sum exp(-D_s) + mean D_s ] on other samples.

    Gradients flow through \bar p and exp(-D_s) too; the last term prevents the weights from collapsing.

    Implementation notes. The paper's divergence is recalled as KL(p_s || \bar p), ``divergence=to_mean``; the
    default is that of its public code (SSL4MIS), which is what later work compares with. The weights are normalised
    scale by scale, as there. The paper's network has four scales, this takes those that the network names, three in
    ``VNet`` and ``UNet``; a fourth is ``features=[x6,x7,x8]`` in ``VNet``. Coarse predictions are upsampled linearly.
    The code's dropout (3D) and feature perturbations (2D) before the heads belong to its networks and are left out.
    Labels of noisy samples are not used: for this method they are unlabelled. The finest prediction counts.

    Args:
        network: the network.
        consistency: w, the final weight of the consistency term.
        ramp_length: fraction of the run after which that weight is reached.
        divergence: KL 'from_mean' to each scale (public code), or from each scale 'to_mean' (paper).
        features: sub-modules that get a head; all of the network's decoder scales but the finest by default.
    """

    kind = "semi"
    paper = "Luo et al., Gross target volume segmentation via uncertainty rectified pyramid consistency, MICCAI 2021"
    cost = "1 network with heads at several scales"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        consistency: float = 0.1,
        ramp_length: float = 1.0,
        divergence: Literal["from_mean", "to_mean"] = "from_mean",
        features: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        scales = tuple(features or network.decoder_scales[:-1])
        self._taps, self.heads = FeatureTaps(network, scales), SideHeads(network, scales)
        self.consistency, self.ramp_length, self.divergence = consistency, ramp_length, divergence

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``consistency``."""
        expert = batch.rows(Quality.EXPERT)
        others = batch.rows(Quality.NOISY, Quality.NONE)
        with self._taps.recording(attached=True) as tapped:
            logits = self.network(batch.image).float()
        scales = torch.stack([logits, *self.heads(tapped, batch.image.shape[2:])])
        terms = {}
        if expert:
            losses = [cross_entropy_dice(scale, batch.label[expert]) for scale in scales[:, expert]]
            terms["expert"] = torch.stack(losses).mean()
        if others:
            weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length)
            terms["consistency"] = weight * rectified_discrepancy(scales[:, others], self.divergence)
        return terms
