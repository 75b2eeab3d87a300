"""Plain supervised training: the baseline."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition, samples
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.functional.class_sets import counted
from segmend.functional.dice import cross_entropy_dice, noise_robust_dice_loss, soft_cross_entropy_dice
from segmend.functional.losses import (
    generalised_cross_entropy,
    probabilities,
    soft_cross_entropy,
    symmetric_cross_entropy,
    truncated_cross_entropy,
)
from segmend.functional.resampling import downsample_labels
from segmend.functional.soft_labels import evenly_smoothed, one_hot, smoothed_at_borders
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.side_heads import SideHeads
from segmend.networks import Network

LossName = Literal["ce_dice", "gce", "truncated_gce", "symmetric_ce", "nr_dice", "label_smoothing", "svls"]


class Supervised(Method):
    r"""Trains on every given label as if it were correct.

    The loss is half cross-entropy, half squared Dice over all classes, on all labelled samples of the batch. What it is
    a baseline for depends on the batch: expert labels only (``--expert 4``, the H-Sup row of PLIL's Table 1), all
    labels sampled uniformly (the default, HL-Sup), or expert and noisy samples in fixed numbers (``--expert 2 --noisy
    2``). Unlabelled samples are not used.

    Other choices are losses and soft labels made for labels that may be wrong, each by itself as in its paper. With p
    the probability of the label at a voxel they are, with their defaults:

        gce              (1 - p^q) / q, q = 0.7 (Zhang & Sabuncu, NeurIPS 2018)
        truncated_gce    the same after a warm-up only where p > k = 0.5 (ibid.)
        symmetric_ce     -\alpha log p + 4 \beta (1 - p), \alpha = 0.1, \beta = 1 (Wang et al., ICCV 2019)
        nr_dice          sum |p_c - y_c|^\gamma / (sum p_c^2 + sum y_c^2), \gamma = 1.5 (Wang et al., IEEE TMI 2020)
        label_smoothing  cross-entropy with (1 - s) y + s / C, s = 0.1 (Szegedy et al., CVPR 2016)
        svls             cross-entropy with y smoothed at borders, \sigma = 1 (Islam & Glocker, IPMI 2021)

    With soft labels (``--labels soft``) the default loss takes their probabilities in the place of one-hot labels.

    With deep supervision the same loss is also computed on coarser scales of the decoder, each with a head of its own
    and the labels downsampled to its grid (Lee et al., AISTATS 2015; in this form Isensee et al., Nature Methods 2021):

        L = sum_s 2^{-s} L_s / sum_s 2^{-s}, s = 0 for the network's own output, then from fine to coarse.

    The heads are used in training only.

    Deviations from the paper: ``docs/methods/Supervised.md``.

    Args:
        network: the network to train.
        loss: what is minimised, by name.
        q: of gce and truncated_gce, above 0, to 1.
        k: of truncated_gce, above 0, below 1.
        warm_up: fraction of the run before truncated_gce truncates; labels of objects are improbable at first.
        alpha: \alpha of symmetric_ce.
        beta: \beta of symmetric_ce.
        gamma: \gamma of nr_dice, 1..2.
        smoothing: s of label_smoothing.
        sigma: \sigma of svls, in voxels.
        deep_supervision: supervise the coarser scales of the decoder too that the network names; not by default.

    Raises:
        InputError: an argument is out of its range, or the network names no scales for deep supervision.
    """

    kind = "supervised"
    cost = "1 network"
    needs = Composition(any_labelled=4)

    def __init__(
        self,
        network: Network,
        *,
        loss: LossName = "ce_dice",
        q: float = 0.7,
        k: float = 0.5,
        warm_up: float = 0.33,
        alpha: float = 0.1,
        beta: float = 1.0,
        gamma: float = 1.5,
        smoothing: float = 0.1,
        sigma: float = 1.0,
        deep_supervision: bool | None = None,
    ) -> None:
        super().__init__(network)
        if not 0 < q <= 1:
            raise InputError("method.q", f"{q} is not usable", "give a number above 0, to 1", code="invalid-value")
        self.loss_name: LossName = loss
        self.q, self.k, self.warm_up = q, k, warm_up
        self.alpha, self.beta, self.gamma, self.smoothing, self.sigma = alpha, beta, gamma, smoothing, sigma
        self.heads: SideHeads | None = None
        if deep_supervision:
            scales = network.supervised_scales
            if not scales:
                raise InputError(
                    "method.deep_supervision",
                    f"needs coarser scales of the decoder, but {type(network).__name__} names none",
                    "leave it out, or take another `network`, such as PlannedUNet",
                    code="mismatch",
                )
            self._taps, self.heads = FeatureTaps(network, scales), SideHeads(network, scales)

    def takes_class_sets(self) -> bool:
        """Unless its labels are soft."""
        return self.loss_name not in ("label_smoothing", "svls")

    def takes_soft_labels(self) -> bool:
        """With the loss ce_dice on a single scale."""
        return self.loss_name == "ce_dice" and self.heads is None

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One term, ``supervised``; of soft labels, where the batch has them."""
        rows = batch.labelled
        image, label = samples(batch.image, rows), samples(batch.label, rows)
        warm = step.progress >= self.warm_up
        if batch.soft is not None:
            return {"supervised": soft_cross_entropy_dice(self.network(image), samples(batch.soft, rows))}
        if self.heads is None:
            return {"supervised": self._loss(self.network(image), label, warm)}
        with self._taps.recording(attached=True) as tapped:
            logits = self.network(image)
        scales = [logits, *reversed(self.heads(tapped, None))]
        losses = torch.stack([self._loss(each, downsample_labels(label, each.shape[2:]), warm) for each in scales])
        weights = 0.5 ** torch.arange(len(scales), device=losses.device)
        return {"supervised": (weights * losses).sum() / weights.sum()}

    def _loss(self, logits: Tensor, label: Tensor, warm: bool) -> Tensor:
        known, classes = label != IGNORE, logits.shape[1]
        match self.loss_name:
            case "ce_dice":
                return cross_entropy_dice(logits, label)
            case "nr_dice":
                predicted = probabilities(logits) * counted(label, classes)
                return noise_robust_dice_loss(predicted, one_hot(label, classes), self.gamma).mean()
            case "truncated_gce" if warm:
                losses = truncated_cross_entropy(logits, label, self.q, self.k)
            case "gce" | "truncated_gce":
                losses = generalised_cross_entropy(logits, label, self.q)
            case "symmetric_ce":
                losses = symmetric_cross_entropy(logits, label, self.alpha, self.beta)
            case "label_smoothing":
                losses = soft_cross_entropy(logits, evenly_smoothed(label, classes, self.smoothing))
            case "svls":
                losses = soft_cross_entropy(logits, smoothed_at_borders(label, classes, self.sigma))
        return masked_mean(losses, known)
