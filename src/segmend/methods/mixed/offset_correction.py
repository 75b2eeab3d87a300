"""Offset correction: estimates each annotator's boundary offset from the labels, and corrects it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.functional.offsets.correction import CorrectedOffset, MeasuredOffset, shrink_offsets, teacher_bias
from segmend.functional.offsets.estimate import REACH, Criterion, estimate_offset
from segmend.functional.offsets.surfaces import SurfaceKind, shift_surfaces, surfaces_of
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.first_evaluation import FirstEvaluation
from segmend.methods.mixed.alc import ALC
from segmend.methods.mixed.plil import PLIL
from segmend.methods.supervised.supervised import Supervised
from segmend.networks import Network

CORRECTED = "corrected"
_BASES: dict[str, type[Method]] = {"Supervised": Supervised, "PLIL": PLIL, "ALC": ALC}


class OffsetCorrection(Method):
    r"""Estimates by how many millimetres each label is over- or under-segmented, and shifts its surface back.

    A non-expert's outline is modelled as the true one, shifted by an offset of that annotator. With the signed distance
    s of the given label, the surface shifted by \delta encloses R(\delta) = {s < \delta}. Each revision of the labels

    1. measures, for each case and class, where the probabilities p_c of a mean teacher within and beyond R differ most,

           \delta^* = argmax_\delta |R| |R^c| (mean_R p_c - mean_{R^c} p_c)^2,    R^c = {\delta <= s < reach},

       and the jackknife standard error e of \delta^* over the sides of the object,
    2. removes the teacher's bias b, the mean offset of the expert labels, whose true offset is 0; their scatter adds to
       e. Without expert labels, b is the median offset of all labels,
    3. shrinks each offset towards the mean m_a of its annotator, and then by the probability that its label is correct,

           \delta = m_a + \tau^2 / (\tau^2 + e^2) (\delta^* - b - m_a),

    4. shifts the surfaces of the given noisy labels by \delta, and trains on the result from then on,
    5. weights the sampling of noisy labels by their reliability, min(1, E^2 / e^2), with the mean E^2 of expert labels.

    After a few steps the teacher could not segment the object yet, but it locates its surface; and one number per case
    cannot copy the teacher's errors. See docs/methods/OffsetCorrection.md for the reasons, all details and results.

    Args:
        network: the student; the teacher starts as its copy.
        revise_at: fractions of the run at which labels are revised.
        offsets: one for each 'case' and class; or one for each class that it borders on ('neighbour'), for walls whose
            two surfaces have their own offsets; or also one for each side of each axis, smoothly joined ('direction'),
            for annotators who shift as well as scale.
        hierarchical: shrink towards the annotator's mean; False uses every estimate as it is.
        remainder: what to do with voxels where the teacher is confident and disagrees with the shifted label: 'keep'
            the label, assign the class of the 'teacher', or leave them out ('ignore').
        confidence: probability above which the teacher is confident.
        criterion: what \delta^* maximises: as above ('separation'), the expected Dice of R ('overlap'), or the
            log-likelihood, sum_R log p_c / (1 - p_c) ('likelihood').
        reach: largest offset that is searched for, in mm.
        doubt: probability that an output of the teacher is uninformative; bounds the weight of a voxel in the
            likelihood.
        decay: largest decay of the moving average.
        weight_by_reliability: sample noisy labels by their reliability; False samples all uniformly, as is always done
            without expert labels.
        then: how to train on the corrected labels: 'Supervised' uses them as they are, 'PLIL' isolates and 'ALC'
            selects and refines the remaining errors.

    Raises:
        InputError: reach is not above 0.
    """

    kind = "mixed"
    cost = "1 network; predicts all cases now and then"
    needs = Composition(any_labelled=4)
    layers = (CORRECTED,)
    report = "offsets.csv"

    def __init__(
        self,
        network: Network,
        *,
        revise_at: Sequence[float] = (0.05, 0.2, 0.5),
        offsets: Literal["case", "neighbour", "direction"] = "case",
        hierarchical: bool = True,
        remainder: Literal["keep", "teacher", "ignore"] = "keep",
        confidence: float = 0.95,
        criterion: Criterion = "separation",
        reach: float = REACH,
        doubt: float = 0.02,
        decay: float = 0.99,
        weight_by_reliability: bool = True,
        then: Literal["Supervised", "PLIL", "ALC"] = "Supervised",
    ) -> None:
        if reach <= 0:
            raise InputError("method.reach", f"{reach} is not usable", "give a number above 0", code="invalid-value")
        super().__init__(network)
        self.base = _BASES[then](network)
        self.needs = self.base.needs
        self.teacher = EMATeacher(network, decay, copy_statistics=True)
        self.revise_at, self.hierarchical, self.weight_by_reliability = (
            tuple(revise_at),
            hierarchical,
            weight_by_reliability,
        )
        self.by_neighbour, self.by_direction = offsets == "neighbour", offsets == "direction"
        self.remainder, self.confidence = remainder, confidence
        self._estimate = partial(estimate_offset, criterion=criterion, reach=reach, doubt=doubt)
        self.first_evaluation = FirstEvaluation()

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The terms of the method that trains on the corrected labels."""
        return self.base.loss(replace(batch, label=batch.layers[CORRECTED]), step)

    def revises(self, step: Step) -> bool:
        """At the given fractions of the run."""
        return step.index in {round(fraction * step.total) for fraction in self.revise_at} - {0}

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Measure all offsets, remove the teacher's bias, shrink them, shift the noisy labels, and weight these."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        noisy = [case for case in labelled if case.quality is Quality.NOISY]
        measured, confident = self._measure(labelled)
        self.first_evaluation.update(measured)
        biases = teacher_bias(measured, self.first_evaluation.scatter_ratios)
        offsets = shrink_offsets(measured, biases, hierarchical=self.hierarchical)
        weights = self.first_evaluation.sampling_weights([case.name for case in noisy], len(labelled) - len(noisy))
        for case in noisy:
            of_case = [offset for offset in offsets if offset.measured.case == case.name]
            label = self._resolve_remainder(self._shift(case, of_case), confident.pop(case.name, None))
            report = [_report_row(offset, self.first_evaluation.reliabilities) for offset in of_case]
            weight = weights.get(case.name) if self.weight_by_reliability else None
            yield Revision(case.name, {CORRECTED: label}, report=report, sampling_weight=weight)

    def _measure(self, cases: Sequence[LabelledCase]) -> tuple[list[MeasuredOffset], dict[str, Tensor]]:
        """Measure the offset of each surface of the given labels; also return what the remainder needs, by case."""
        measured: list[MeasuredOffset] = []
        confident: dict[str, Tensor] = {}  # not the probabilities, which for all cases would not fit into memory
        for case in cases:
            probabilities = case.predict_map(self.teacher.predict)
            expert, classes = case.quality is Quality.EXPERT, range(1, len(probabilities))
            options = {"sliced": case.sliced, "by_neighbour": self.by_neighbour}
            for surface in surfaces_of(case.given, classes, case.spacing, **options):
                estimate = self._estimate(surface, probabilities[surface.cls], case.spacing)
                measured.append(MeasuredOffset(case.name, case.annotator, expert, surface.kind, estimate))
            if self.remainder != "keep" and not expert:
                confident[case.name] = _confident_classes(probabilities, self.confidence)
        return measured, confident

    def _shift(self, case: LabelledCase, offsets: Sequence[CorrectedOffset]) -> Tensor:
        """Shift the surfaces of a given label."""
        by_kind = {each.measured.kind: each.by_side if self.by_direction else each.offset for each in offsets}
        options = {"sliced": case.sliced, "by_neighbour": self.by_neighbour}
        return shift_surfaces(case.given, by_kind, case.spacing, **options)

    def _resolve_remainder(self, label: Tensor, confident: Tensor | None) -> Tensor:
        """Correct errors that no offset explains: where the teacher is confident and disagrees with the label."""
        if confident is None:
            return label
        disagrees = (confident != IGNORE) & (confident != label) & (label != IGNORE)
        return label.where(~disagrees, confident if self.remainder == "teacher" else IGNORE)


def _confident_classes(probabilities: Tensor, confidence: float) -> Tensor:
    """The most probable class of each voxel, ``[*spatial]`` uint8; ``IGNORE`` where it is not above the confidence."""
    highest, cls = probabilities.max(0)
    return cls.to(torch.uint8).where(highest > confidence, IGNORE)


def _report_row(
    offset: CorrectedOffset, reliabilities: Mapping[tuple[str, SurfaceKind], float]
) -> dict[str, str | float]:
    """A row of offsets.csv."""
    measured = offset.measured
    cls, neighbour = measured.kind
    return {
        "label": cls,
        **({} if neighbour is None else {"neighbour": neighbour}),
        "annotator": measured.annotator,
        "measured_mm": measured.estimate.offset,
        "measured_error_mm": measured.estimate.error,
        "offset_mm": offset.offset,
        "error_mm": offset.error,
        "annotator_mean_mm": offset.annotator_mean,
        "teacher_bias_mm": offset.bias,
        "reliability": reliabilities.get((measured.case, measured.kind), math.nan),
    }
