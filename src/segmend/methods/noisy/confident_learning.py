"""Confident learning for segmentation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.confident_learning import (
    ConfidentJoint,
    PruningRule,
    ScoreHistograms,
    SelfConfidence,
    pruned_issues,
)
from segmend.functional.losses import probabilities, soft_cross_entropy
from segmend.functional.soft_labels import interpolate_labels
from segmend.functional.weighting import masked_mean
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.peers import reinitialised_copy
from segmend.networks import Network

_LAYER = "corrected"
"""The given labels, except at doubtful voxels, which have the class that the teacher predicts."""


class ConfidentLearning(Method):
    r"""Teachers find doubtful labels; a student learns from all labels, with the doubtful ones smoothed.

    In the first part of the run, one teacher learns from each half of the training cases. Then each predicts the
    held-out half, and confident learning finds the voxels M whose label y disagrees with its estimates from all voxels
    of that half. From then on a student, which starts from scratch, learns from all cases by

        L = CE(f(x), (1 - \epsilon M) onehot(y) + \epsilon M onehot(\hat y)),

    where \hat y is the class that the teacher predicts. The label is corrected once, and never again.

    Deviations from the paper: ``docs/methods/ConfidentLearning.md``.

    Args:
        network: the student; the teachers have its architecture and their own random initialisations.
        teacher_share: fraction of the run in which the teachers learn.
        halves: False trains one teacher on all cases, which then evaluates labels of its own training set, as a public
            toolkit does.
        rule: which voxels are doubtful.
        epsilon: \epsilon, 0..1.
    """

    kind = "noisy"
    paper = "Zhang et al., Characterizing label errors: Confident learning for noisy-labeled segmentation, MICCAI 2020"
    cost = "2 teachers, later 1 network; predicts all cases once"
    needs = Composition(any_labelled=4)
    layers = (_LAYER,)

    def __init__(
        self,
        network: Network,
        *,
        teacher_share: float = 0.5,
        halves: bool = True,
        rule: PruningRule = "both",
        epsilon: float = 0.25,
    ) -> None:
        super().__init__(network)
        self.teachers = nn.ModuleList([reinitialised_copy(network) for _ in range(2 if halves else 1)])
        self.teacher_share, self.epsilon = teacher_share, epsilon
        self.rule: PruningRule = rule

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``teacher_0`` and ``teacher_1`` in the first part of the run, ``student`` after it."""
        rows = batch.labelled
        if not self._teachers_learn(step):
            return {"student": self._cross_entropy(self.network, batch, rows, batch.layers[_LAYER])} if rows else {}
        terms = {}
        for half, teacher in enumerate(self.teachers):
            if own := [row for row in rows if self.half_of(batch.cases[row]) == half]:
                terms[f"teacher_{half}"] = self._cross_entropy(teacher, batch, own, batch.label)
        return terms

    def half_of(self, case: str) -> int:
        """Return the number of the half that a case belongs to, from its name."""
        return hashlib.blake2s(case.encode()).digest()[0] % len(self.teachers)

    def revises(self, step: Step) -> bool:
        """When the teachers have learned."""
        return self._teachers_learn(Step(step.index - 1, step.total)) and not self._teachers_learn(step)

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Each half as the other half's teacher sees it. Every case is predicted three times."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        halves = {self.half_of(case.name) for case in labelled}
        for half in halves:
            # With very few cases, all may belong to one half; then there is only the teacher that they have trained.
            judge = min(halves - {half} or {half})
            yield from self._judged([case for case in labelled if self.half_of(case.name) == half], judge)

    def _judged(self, cases: Sequence[LabelledCase], judge: int) -> Iterator[Revision]:
        classes = self.network.arguments["classes"]

        def predict(case: LabelledCase) -> Tensor:
            return case.predict_map(lambda image: probabilities(self.teachers[judge](image))).unsqueeze(0)

        confidence, histograms = SelfConfidence.empty(classes), ScoreHistograms.empty(classes)
        for case in cases:
            predicted, given = predict(case), case.given.unsqueeze(0)
            confidence, histograms = confidence.add(predicted, given), histograms.add(predicted, given)
        joint = ConfidentJoint.empty(confidence)
        for case in cases:
            joint = joint.add(predict(case), case.given.unsqueeze(0))
        cuts = histograms.cuts(joint.prune_counts())
        for case in cases:
            predicted, given = predict(case), case.given.unsqueeze(0)
            doubtful = pruned_issues(predicted, given, cuts, self.rule)
            yield Revision(case.name, {_LAYER: predicted.argmax(1).to(given).where(doubtful, given)[0]})

    def _teachers_learn(self, step: Step) -> bool:
        return step.progress < self.teacher_share

    def _cross_entropy(self, network: nn.Module, batch: Batch, rows: list[int], corrected: Tensor) -> Tensor:
        logits, label = network(batch.image[rows]), batch.label[rows]
        target = interpolate_labels(label, corrected[rows], self.epsilon, logits.shape[1])
        return masked_mean(soft_cross_entropy(logits, target), label != IGNORE)
