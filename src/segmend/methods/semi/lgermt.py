"""Local and global structure-aware entropy-regularised mean teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.consistency import squared_difference, structural_difference
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.random_blocks import random_blocks
from segmend.functional.uncertainty import self_information
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class LGERMT(Method):
    r"""A mean teacher (LG-ER-MT) that compares local and global structure too, and lowers the student's entropy.

    With the student's probabilities p_s of the image, the teacher's p_t of a noisier one, and the self-information
    I_c = -p_c log p_c / log C of each,

        L = L_sup(expert) + \lambda(t) [ a mean (p_s - p_t)^2 / 2 + b S + c mean (I_s - I_t)^2 / 2 + d mean sum_c I_s ].

    S compares which voxels of a block both find similar: ||F_s^T F_s - F_t^T F_t||^2 / M^2 over its M voxels, where the
    columns of F are their probabilities scaled to unit length; the mean of a few random blocks. The first three look at
    all samples, the entropy at those without an expert label.

    Deviations from the paper: ``docs/methods/LGERMT.md``.

    Args:
        network: the student; the teacher starts as its copy.
        consistency: a.
        local_structure: b.
        global_structure: c.
        entropy: d.
        block: voxels of a block along each axis.
        blocks: positions drawn along each axis; all of their combinations are compared.
        ramp_length: fraction of the run after which the four weights are reached.
        ramp_stairs: if positive, they increase in this many discrete steps.
        decay: largest decay of the moving average.
        noise: standard deviation of the teacher's noise in units of the normalised image; clipped at twice that.
    """

    kind = "semi"
    paper = "Hang et al., Local and global structure-aware entropy regularized mean teacher model, MICCAI 2020"
    cost = "1 network, 1 teacher pass"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        consistency: float = 0.1,
        local_structure: float = 0.01,
        global_structure: float = 0.01,
        entropy: float = 0.01,
        block: int = 16,
        blocks: Sequence[int] = (2, 2, 1),
        ramp_length: float = 1.0,
        ramp_stairs: int = 0,
        decay: float = 0.99,
        noise: float = 0.1,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.consistency, self.entropy, self.noise = consistency, entropy, noise
        self.local_structure, self.global_structure = local_structure, global_structure
        self.block, self.blocks = block, tuple(blocks)
        self.ramp_length, self.ramp_stairs = ramp_length, ramp_stairs

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert``, ``consistency``, ``local``, ``global`` and ``entropy``."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        logits = self.network(batch.image)
        student = logits.float().log_softmax(1)
        teacher = self.teacher.perturbed_passes(batch.image, 1, self.noise)[0].float().log_softmax(1)
        information, theirs = self_information(student), self_information(teacher)
        ramp = sigmoid_ramp(step.progress, self.ramp_length, self.ramp_stairs)
        terms = {
            "consistency": ramp * self.consistency * squared_difference(student.exp(), teacher.exp()).mean() / 2,
            "local": ramp * self.local_structure * self._local_difference(student.exp(), teacher.exp()),
            "global": ramp * self.global_structure * squared_difference(information, theirs).mean() / 2,
        }
        if others:
            terms["entropy"] = ramp * self.entropy * information[others].sum(1).mean()
        if expert:
            terms["expert"] = cross_entropy_dice(logits[expert], batch.label[expert])
        return terms

    def _local_difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean of S over samples and blocks, which are the same for all samples."""
        places = random_blocks(student.shape[2:], self.block, self.blocks)
        found = [structural_difference(student[:, :, *place], teacher[:, :, *place]) for place in places]
        return torch.stack(found).mean()
