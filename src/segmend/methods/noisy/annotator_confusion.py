"""Learning each annotator's confusion matrix together with the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.errors import InputError, did_you_mean
from segmend.core.masks import IGNORE
from segmend.functional.confusion import confused_cross_entropy
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.weighting import masked_mean
from segmend.methods._base import Method, Step
from segmend.networks import Network


class AnnotatorConfusion(Method):
    r"""Each annotator has a confusion matrix, and the network predicts what lies behind all of them.

    Column c of the matrix A_r says what annotator r draws where class c is. A label of that annotator is compared with
    A_r p, not with the prediction p:

        L = L_sup(p, expert labels) + mean -log (A_r p)_y over noisy labels + \alpha mean_r trace(A_r).

    Many pairs of matrices and predictions explain the same labels; a small trace makes the annotators as confused, and
    so the prediction as clean, as the labels allow. The prediction is p.

    Deviations from the paper: ``docs/methods/AnnotatorConfusion.md``.

    Args:
        network: the network that predicts p.
        annotators: names of the annotators; by default those of the noisy training labels. Without any, all noisy
            labels share one matrix.
        trace: \alpha.
        diagonal: logit of 'draws what is there' when training starts; the logits of all confusions are 0.
        warm_up: fraction of the run that passes before the trace counts.
    """

    kind = "noisy"
    paper = "Zhang et al., Disentangling human error from ground truth in segmentation of medical images, NeurIPS 2020"
    cost = "1 network"
    needs = Composition(any_labelled=4)

    def __init__(
        self,
        network: Network,
        *,
        annotators: Sequence[str] = (),
        trace: float = 0.1,
        diagonal: float = 3.0,
        warm_up: float = 0.1,
    ) -> None:
        super().__init__(network)
        self.annotators, self.trace, self.warm_up = tuple(annotators), trace, warm_up
        classes = network.arguments["classes"]
        self.logits = nn.Parameter(torch.zeros(max(len(self.annotators), 1), classes, classes))
        with torch.no_grad():
            self.logits.diagonal(dim1=1, dim2=2).fill_(diagonal)

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and ``noisy``, which after the warm-up has the trace in it."""
        expert, noisy = batch.rows(Quality.EXPERT), batch.rows(Quality.NOISY)
        logits = self.network(batch.image)
        terms = {"expert": cross_entropy_dice(logits[expert], batch.label[expert])} if expert else {}
        if noisy:
            label, log_matrices = batch.label[noisy], self.logits[self._matrices_of(batch, noisy)].log_softmax(1)
            losses = confused_cross_entropy(logits[noisy].float().log_softmax(1), log_matrices, label)
            traces = log_matrices.diagonal(dim1=1, dim2=2).exp().sum(1)
            weight = self.trace if step.progress >= self.warm_up else 0.0
            terms["noisy"] = masked_mean(losses, label != IGNORE) + weight * traces.mean()
        return terms

    @torch.no_grad()
    def confusion(self) -> Tensor:
        """The matrices ``[annotators, C, C]``: how probable each drawn class is (rows) for each true one (columns)."""
        return self.logits.softmax(1)

    def _matrices_of(self, batch: Batch, rows: Sequence[int]) -> list[int]:
        """Number of the matrix that belongs to each of some samples."""
        if not self.annotators:
            return [0] * len(rows)
        names = [batch.annotators[row] if batch.annotators else "" for row in rows]
        for name in names:
            if name not in self.annotators:
                problem = f"holds a label by '{name}', whom `method.annotators` does not name"
                raise InputError("the batch", problem, did_you_mean(name, self.annotators), code="unknown-name")
        return [self.annotators.index(name) for name in names]
