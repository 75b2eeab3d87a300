"""Offset correction: estimates each annotator's boundary bias from the labels, and corrects it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.functional.offsets.estimate import REACH, Criterion, estimate_offset
from segmend.functional.offsets.hierarchy import Corrected, Measured, corrected
from segmend.functional.offsets.profile import directions
from segmend.functional.offsets.surfaces import Surface, surfaces_of, with_moved_surfaces
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.first_look import FirstLook
from segmend.methods.mixed.alc import ALC
from segmend.methods.mixed.plil import PLIL
from segmend.methods.supervised.supervised import Supervised
from segmend.networks import Network

MENDED = "mended"
_FAR = 1e4
"""Millimetres beyond any scan."""
_BASES: dict[str, type[Method]] = {"Supervised": Supervised, "PLIL": PLIL, "ALC": ALC}


class OffsetCorrection(Method):
    r"""Estimates by how many millimetres each label is over- or under-segmented, and shifts its surface back.

    A careless annotator's outline is the true one, moved by an offset of that annotator's own. With the signed
    distance s of the given label, the surface moved by \delta encloses R(\delta) = {s < \delta}. The offset of this
    case and class is where the probabilities p_c of a mean teacher within and beyond R differ most:

        \delta^* = argmax_\delta |R| |R^c| (mean_R p_c - mean_{R^c} p_c)^2,    R^c = {\delta <= s < reach},

    computed for all \delta in one pass over the voxels; the jackknife over the sides of the object gives its standard
    error e. No threshold on p_c is needed: a teacher that was trained for a few steps on contradictory labels gives
    objects low probabilities, below 0.5 everywhere, but still locates their boundaries. So labels can be corrected long
    before the teacher would segment anything. Offsets of an annotator's cases scatter around the annotator's own mean,
    so each is shrunk towards it:

        \delta_i = m_a + \tau^2 / (\tau^2 + e_i^2) (\delta^*_i - b - m_a).

    b is the teacher's own bias: the mean offset that it finds for expert labels, whose true offset is 0; their scatter
    adds to e, so that a teacher which cannot locate expert surfaces does not move others either. The teacher soon
    memorises a few expert labels; so their scatter, in units of the typical e of the other labels, never counts for
    less than at the first evaluation. An offset common to all annotators may also be the teacher's, so it is shrunk
    towards 0, by the error of one estimate; and so is every offset by the probability that its label is correct, as an
    unknown fraction of them is assumed to be. Without expert labels b cannot be known; it is then the median of the
    measurements, that is, as many labels are assumed to be over-segmented as under-segmented; and the teacher is
    conservatively assumed to scatter by twice its typical e, more than expert labels showed wherever there were some.
    At each revision all noisy labels are rebuilt from the given ones: every class moved, and each voxel given to the
    class it then lies deepest in. Errors that no offset explains (missing or extra pieces) are where the teacher is
    confident and still disagrees; they can be corrected, too. Then training continues with the corrected labels.
    Surfaces of classes that the teacher does not detect yet stay unchanged: those whose probability, in the median over
    the labels, is less than 1.1 times as high within a label as beyond the reach around it.

    The sides of a label with a wrong shape do not agree on one offset: its e is large. From the first revision on,
    noisy labels are sampled in proportion to their reliability, w = min(1, E^2 / e^2), where E^2 is the mean of expert
    labels, at the first evaluation. The odds of a noisy against an expert sample are (N / E)^w, by the mean reliability
    and the numbers of labels: equal odds if no label is reliable, and those of uniform sampling if all are.

    Unlike label correction by the teacher's prediction, the shape that the annotator saw is kept: one number per case
    cannot copy the teacher's mistakes.

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
        criterion: the offset is found as above ('separation'), or maximises the expected Dice of R ('overlap') or the
            log-likelihood, sum_R log p_c / (1 - p_c) ('likelihood').
        reach: largest offset that is searched for, in mm.
        doubt: probability that an output of the teacher is uninformative; bounds the weight of a voxel in the
            likelihood.
        decay: largest decay of the moving average.
        by_trust: sample noisy labels less often the less sharply the teacher sees their surfaces; False samples all
            uniformly, as is always done without expert labels.
        then: how to train on the labels: 'Supervised' trusts the corrected ones, 'PLIL' isolates and 'ALC' selects and
            refines the remaining errors.

    Raises:
        InputError: reach is not above 0.
    """

    kind = "mixed"
    cost = "1 network; predicts all cases now and then"
    needs = Composition(mixed=4)
    layers = (MENDED,)

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
        by_trust: bool = True,
        then: Literal["Supervised", "PLIL", "ALC"] = "Supervised",
    ) -> None:
        if reach <= 0:
            raise InputError("method.reach", f"{reach} is not usable", "give a number above 0")
        super().__init__(network)
        self.base = _BASES[then](network)
        self.needs = self.base.needs
        self.teacher = EMATeacher(network, decay)
        self.revise_at, self.offsets, self.hierarchical = tuple(revise_at), offsets, hierarchical
        self.remainder, self.confidence = remainder, confidence
        self.criterion: Criterion = criterion
        self.reach, self.doubt, self.by_trust = reach, doubt, by_trust
        self.first_look = FirstLook()

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The terms of the method that trains on the corrected labels."""
        return self.base.loss(replace(batch, label=batch.layers[MENDED]), step)

    def after_step(self, step: Step) -> None:
        """The teachers follow."""
        self.base.after_step(step)
        self.teacher.follow(self.network, step.index)
        self.teacher.take_statistics(self.network)

    def revises(self, step: Step) -> bool:
        """At the given fractions of the run."""
        return step.index in {round(share * step.total) for share in self.revise_at} - {0}

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Shift the surfaces of all noisy labels back."""
        measured: list[Measured] = []
        sure: dict[str, Tensor] = {}  # not the probabilities, which for all cases would not fit into memory
        for case in cases:
            if case.quality is Quality.NONE:
                continue
            probabilities = case.maps(lambda image: self.teacher.network(image).float().softmax(1))
            classes, by_neighbour = range(1, len(probabilities)), self.offsets == "neighbour"
            for surface in surfaces_of(case.given, classes, _spacing(case), by_neighbour=by_neighbour):
                measured.append(self._measured(case, surface, probabilities[surface.cls]))
            if case.quality is Quality.NOISY and self.remainder != "keep":
                top, cls = probabilities.max(0)
                sure[case.name] = cls.to(torch.uint8).where(top > self.confidence, IGNORE)
        self.first_look.take(measured)
        found = corrected(measured, hierarchical=self.hierarchical, least_ratio=self.first_look.ratios)
        noisy = [case for case in cases if case.quality is Quality.NOISY]
        expert = sum(case.quality is Quality.EXPERT for case in cases)
        weights = self.first_look.sampling_weights((case.name for case in noisy), expert) if self.by_trust else {}
        for case in noisy:
            of_case = [each for each in found if each.measured.case == case.name]
            rows = [each.row() | {"trust": self._trust(each)} for each in of_case]
            yield Revision(
                case.name,
                MENDED,
                self._mended(case, of_case, sure.pop(case.name, None)),
                rows,
                weights.get(case.name),
            )

    def _measured(self, case: LabelledCase, surface: Surface, probability: Tensor) -> Measured:
        seen = estimate_offset(
            surface.mask,
            surface.distance,
            probability,
            case.spacing,
            criterion=self.criterion,
            reach=self.reach,
            doubt=self.doubt,
            counted=surface.near & (case.given != IGNORE),
        )
        expert = case.quality is Quality.EXPERT
        return Measured(case.name, case.annotator, expert, surface.cls, surface.neighbour, seen)

    def _trust(self, found: Corrected) -> float:
        return self.first_look.trusts.get((found.measured.case, found.measured.kind), math.nan)

    def _mended(self, case: LabelledCase, found: Sequence[Corrected], sure: Tensor | None) -> Tensor:
        label = case.given
        if found:
            of_surface = {each.measured.kind: each for each in found}
            label = with_moved_surfaces(
                label,
                lambda surface: self._field(of_surface[surface.cls, surface.neighbour], surface.mask, case.spacing),
                max(each.measured.cls for each in found),
                _spacing(case),
                by_neighbour=self.offsets == "neighbour",
            )
        if sure is not None:
            disagrees = (sure != IGNORE) & (sure != label) & (label != IGNORE)
            label = label.where(~disagrees, sure if self.remainder == "teacher" else IGNORE)
        return label

    def _field(self, found: Corrected, mask: Tensor, spacing: Sequence[float]) -> Tensor:
        """The offset at each voxel: one number, or one that varies smoothly around the object."""
        if self.offsets != "direction":
            return torch.tensor(found.offset)
        return torch.einsum("k,k...->...", torch.tensor(found.by_side), directions(mask, spacing))


def _spacing(case: LabelledCase) -> tuple[float, ...]:
    """Return the spacing of a case, with its slices out of reach of each other if it is drawn slice by slice."""
    # Who draws slice by slice moves outlines within slices: other slices are out of reach.
    return (*case.spacing[:-1], _FAR) if case.sliced else case.spacing
