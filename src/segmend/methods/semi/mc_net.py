"""Mutual consistency of decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.functional.consistency import squared_difference
from segmend.functional.dice import foreground_dice
from segmend.functional.losses import probabilities
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods._base import Method, Step
from segmend.methods.components.branches import differing_decoders
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.sub_modules import members
from segmend.networks import Network


class MCNet(Method):
    r"""Two decoders (MC-Net) or three (MC-Net+) that upsample differently follow each other's sharpened predictions.

    They share one encoder and differ most where the network is uncertain. With the probabilities p_i of decoder i and
    S(p)_c = p_c^(1/T) / sum p^(1/T),

        L = 1/2 sum_i L_Dice(p_i, expert) + w \lambda(t) sum_{i != j} mean (p_i - S(p_j))^2 on all samples.

    The network's own decoder predicts.

    Deviations from the paper: ``docs/methods/MCNet.md``.

    Args:
        network: encoder and first decoder.
        decoders: 2 is MC-Net, 3 is MC-Net+.
        temperature: T; below 1, targets are sharper than predictions.
        consistency: w, the final weight of the agreement.
        ramp_length: fraction of the run after which that weight is reached; 0 uses it from the start.
        detach_target: treat S(p_j) as constant (paper) instead of letting gradients through (public code).
        shared: sub-modules that all decoders share; the network's encoder by default.

    Raises:
        InputError: ``decoders`` is neither 2 nor 3, or no shared sub-modules are known.
    """

    kind = "semi"
    paper = "Wu et al., Mutual consistency learning for semi-supervised medical image segmentation, MedIA 2022"
    cost = "1 network with 2 or 3 decoders"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        decoders: int = 2,
        temperature: float = 0.1,
        consistency: float = 1.0,
        ramp_length: float = 0.4,
        detach_target: bool = False,
        shared: Sequence[str] | None = None,
    ) -> None:
        super().__init__(network)
        if decoders not in (2, 3):
            raise InputError(
                "method.decoders", f"{decoders} is not usable", "give 2 (MC-Net) or 3 (MC-Net+)", code="invalid-value"
            )
        stages = tuple(shared or network.encoder_stages)
        self.branches = nn.ModuleList(differing_decoders(network, stages, decoders - 1))
        self._encoder = FeatureTaps(network, members(network, stages))
        self.temperature, self.detach_target = temperature, detach_target
        self.consistency, self.ramp_length = consistency, ramp_length

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``consistency``, each the sum over all decoders."""
        expert = batch.rows(Quality.EXPERT)
        with self._encoder.recording(attached=True) as features:
            outputs = [self.network(batch.image).float()]
        # They share the encoder's modules, so these features take its place there.
        with self._encoder.replaced(features):
            outputs += [branch(batch.image).float() for branch in self.branches]
        weight = self.consistency * sigmoid_ramp(step.progress, self.ramp_length)
        terms = {"consistency": weight * self._disagreement(outputs)}
        if expert:
            losses = [foreground_dice(each[expert], batch.label[expert], squared=False) for each in outputs]
            terms["expert"] = 0.5 * torch.stack(losses).sum()
        return terms

    def _disagreement(self, outputs: Sequence[Tensor]) -> Tensor:
        # Of logits, since p^(1/T) underflows where p is small.
        sharpened = [probabilities(each / self.temperature) for each in outputs]
        targets = [each.detach() if self.detach_target else each for each in sharpened]
        pairs = permutations(range(len(outputs)), 2)
        return torch.stack([squared_difference(probabilities(outputs[i]), targets[j]).mean() for i, j in pairs]).sum()
