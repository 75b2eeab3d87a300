"""Offset correction: reads each annotator's bias out of the labels, and undoes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from segmend.data.batch import Batch
from segmend.data.case import Quality
from segmend.data.sampling import Composition
from segmend.functional.distance import signed_distance
from segmend.functional.offset_estimate import Criterion, estimate_offset
from segmend.functional.shrinkage import known_zero, shrink
from segmend.functional.surface_offset import directions, moved
from segmend.functional.voxel import IGNORE
from segmend.methods._base import LabelledCase, Method, Revision, Step
from segmend.methods.mixed.alc import ALC
from segmend.methods.mixed.plil import PLIL
from segmend.methods.supervised.supervised import Supervised
from segmend.networks import Network
from segmend.parts.ema import EMATeacher

MENDED = "mended"
_FAR = 1e4
"""Millimetres beyond any scan."""
_BASES: dict[str, type[Method]] = {"Supervised": Supervised, "PLIL": PLIL, "ALC": ALC}


@dataclass(frozen=True)
class Measured:
    """What the teacher says of one class of one label.

    Attributes:
        case: name of the case.
        annotator: who drew it; "" if not told.
        quality: of the label.
        cls: the class.
        neighbour: the class on the other side of the surface; None if all sides are one.
        offset: most likely offset from the given surface to the true one, in mm, outward positive.
        error: its standard error.
        by_direction: offsets of the two sides of each axis, in mm.
    """

    case: str
    annotator: str
    quality: Quality
    cls: int
    neighbour: int | None
    offset: float
    error: float
    by_direction: tuple[float, ...]


@dataclass(frozen=True)
class Corrected:
    """What was made of it.

    Attributes:
        measured: before shrinkage.
        offset: by which the surface is moved, in mm.
        error: standard deviation of that.
        annotator_mean: mean offset of the annotator's labels of this class, in mm.
        bias: the teacher's own, which is taken off.
    """

    measured: Measured
    offset: float
    error: float
    annotator_mean: float
    bias: float

    def row(self) -> dict[str, str | float]:
        """A row of offsets.csv."""
        measured = self.measured
        return {
            "label": measured.cls,
            **({} if measured.neighbour is None else {"beside": measured.neighbour}),
            "annotator": measured.annotator,
            "measured_mm": measured.offset,
            "measured_error_mm": measured.error,
            "offset_mm": self.offset,
            "error_mm": self.error,
            "annotator_mean_mm": self.annotator_mean,
            "teacher_bias_mm": self.bias,
        }


@dataclass(frozen=True)
class _Surface:
    """A surface of a given label that is moved by one offset.

    Attributes:
        cls: the class within it.
        neighbour: the class beyond it; None if that does not matter.
        mask: where the label has the class.
        distance: signed distance to the surface of the class, in mm.
        near: voxels that belong to this part of it.
    """

    cls: int
    neighbour: int | None
    mask: Tensor
    distance: Tensor
    near: Tensor


class OffsetCorrection(Method):
    r"""Finds out by how many millimetres each label was drawn too wide or too tight, and moves its surface back.

    A careless annotator's outline is the true one, moved by an offset of that annotator's own. With the signed
    distance s of the given label and the probabilities p of a mean teacher, the surface moved by \delta encloses
    R(\delta) = {s < \delta}, and agrees with the teacher by an expected Dice of

        D(\delta) = 2 sum_R p_c / (|R| + sum p_c),

    for all \delta from one pass over the voxels. Its maximum \delta^* is the offset of this case and class; the
    jackknife over the sides of the object gives its standard error e. (The log-likelihood, sum_R log p_c / (1 - p_c),
    can be taken instead. It asks each shell for even odds, which a teacher that sees only a part of the object does
    not give.) Offsets of an annotator's cases scatter around the annotator's own mean, so each is shrunk towards it:

        \delta_i = m_a + \tau^2 / (\tau^2 + e_i^2) (\delta^*_i - b - m_a).

    b is the teacher's own bias: the mean offset that it finds for expert labels, whose true one is 0; by how much these
    scatter adds to e, so that a teacher which cannot find expert surfaces again moves no others either. Without
    expert labels b cannot be known; it is then taken as 0, that is, annotators are assumed to err as often and as far
    outward as inward. At each revision all noisy labels are rebuilt from the given ones: every class moved, and each
    voxel given to the class it then lies deepest in. What no offset explains (pieces missing or too many) is where
    the teacher is sure and still disagrees; it can be put right, too. Then training goes on, with the mended labels.

    Unlike label correction by the teacher's prediction, the shape that the annotator saw is kept: one number a case
    cannot copy the teacher's mistakes.

    Args:
        network: the student; the teacher starts as its copy.
        revise_at: shares of the run at which labels are mended.
        offsets: one for each 'case' and class; or one for each class that it borders on ('neighbour'), for walls whose
            two surfaces are drawn by their own; or one for each side of each axis too, smoothly joined ('direction'),
            for annotators who shift as well as scale.
        hierarchical: shrink towards the annotator's mean; False takes every estimate as it is.
        remainder: what becomes of voxels where the teacher is sure and disagrees with the moved label: they 'keep' it,
            take the class of the 'teacher', or are to be left out ('ignore').
        confidence: probability above which the teacher is sure.
        criterion: the offset maximises the expected 'overlap', or the 'likelihood'.
        reach: largest offset that is looked for, in mm.
        doubt: chance that a probability of the teacher means nothing; bounds the weight of a voxel in the likelihood.
        decay: largest decay of the moving average.
        then: how to train on the labels: 'Supervised' believes the mended ones, 'PLIL' isolates and 'ALC' selects and
            refines what is still wrong in them.
    """

    kind = "mixed"
    cost = "1 network; predicts all cases now and then"
    needs = Composition(expert=2, noisy=2)
    layers = (MENDED,)

    def __init__(
        self,
        network: Network,
        *,
        revise_at: Sequence[float] = (0.3, 0.5, 0.7),
        offsets: Literal["case", "neighbour", "direction"] = "case",
        hierarchical: bool = True,
        remainder: Literal["keep", "teacher", "ignore"] = "keep",
        confidence: float = 0.95,
        criterion: Criterion = "overlap",
        reach: float = 10.0,
        doubt: float = 0.02,
        decay: float = 0.99,
        then: Literal["Supervised", "PLIL", "ALC"] = "Supervised",
    ) -> None:
        super().__init__(network)
        self.base = _BASES[then](network)
        self.teacher = EMATeacher(network, decay)
        self.revise_at, self.offsets, self.hierarchical = tuple(revise_at), offsets, hierarchical
        self.remainder, self.confidence = remainder, confidence
        self.criterion: Criterion = criterion
        self.reach, self.doubt = reach, doubt

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The terms of the method that trains on the mended labels."""
        return self.base.loss(replace(batch, label=batch.layers[MENDED]), step)

    def after_step(self, step: Step) -> None:
        """The teachers follow."""
        self.base.after_step(step)
        self.teacher.follow(self.network, step.index)
        self.teacher.take_statistics(self.network)

    def revises(self, step: Step) -> bool:
        """At the given shares of the run."""
        return step.index in {round(share * step.total) for share in self.revise_at} - {0}

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Moves the surfaces of all noisy labels back."""
        measured: list[Measured] = []
        sure: dict[str, Tensor] = {}  # not the probabilities, which of all cases would not fit into memory
        for case in cases:
            if case.quality is not Quality.NONE:
                probabilities = case.maps(lambda image: self.teacher.network(image).float().softmax(1))
                measured += self._measure(case, probabilities)
                if case.quality is Quality.NOISY and self.remainder != "keep":
                    top, cls = probabilities.max(0)
                    sure[case.name] = cls.to(torch.uint8).where(top > self.confidence, IGNORE)
        corrected = self._correct(measured)
        for case in cases:
            if case.quality is Quality.NOISY:
                of_case = [each for each in corrected if each.measured.case == case.name]
                yield self._revision(case, of_case, sure.pop(case.name, None))

    def _measure(self, case: LabelledCase, probabilities: Tensor) -> Iterable[Measured]:
        for surface in self._surfaces(case, range(1, len(probabilities))):
            found = estimate_offset(
                surface.mask,
                surface.distance,
                probabilities[surface.cls],
                case.spacing,
                criterion=self.criterion,
                reach=self.reach,
                doubt=self.doubt,
                counted=surface.near & (case.given != IGNORE),
            )
            drawn = (case.name, case.annotator, case.quality, surface.cls, surface.neighbour)
            yield Measured(*drawn, found.offset, found.error, found.by_side)

    def _surfaces(self, case: LabelledCase, classes: Iterable[int]) -> Iterator[_Surface]:
        """What is moved by one offset each, of the classes that the given label holds."""
        present = [cls for cls in classes if (case.given == cls).any()]
        if self.offsets != "neighbour":
            everywhere = torch.ones_like(case.given, dtype=torch.bool)
            for cls in present:
                yield _Surface(cls, None, case.given == cls, _distance(case.given == cls, case), everywhere)
            return
        distances = {cls: _distance(case.given == cls, case) for cls in (0, *present)}
        for cls in present:
            others = [other for other in (0, *present) if other != cls]
            nearest = torch.stack([distances[other] for other in others]).argmin(0)
            for at, other in enumerate(others):
                near = nearest == at
                if (near & (case.given == cls)).any():
                    yield _Surface(cls, other, case.given == cls, distances[cls], near)

    def _correct(self, measured: Sequence[Measured]) -> list[Corrected]:
        """Of all noisy labels; surfaces between the same classes have a mean, a bias and a scatter of their own."""
        corrected = []
        for kind in dict.fromkeys((each.cls, each.neighbour) for each in measured):
            alike = [each for each in measured if (each.cls, each.neighbour) == kind]
            expert = [each for each in alike if each.quality is Quality.EXPERT]
            noisy = [each for each in alike if each.quality is Quality.NOISY]
            if not noisy:
                continue
            bias, scatter = known_zero([each.offset for each in expert], [each.error for each in expert])
            estimates = [each.offset - bias for each in noisy]
            errors = [math.hypot(each.error, scatter) for each in noisy]
            shrunk = shrink(estimates, errors, [each.annotator for each in noisy])
            for at, each in enumerate(noisy):
                mean, error = (shrunk.mean[at], shrunk.error[at]) if self.hierarchical else (estimates[at], errors[at])
                corrected.append(Corrected(each, float(mean), float(error), shrunk.group_mean[each.annotator], bias))
        return corrected

    def _revision(self, case: LabelledCase, corrected: Sequence[Corrected], sure: Tensor | None) -> Revision:
        label = case.given
        if corrected:
            by_surface = {(each.measured.cls, each.measured.neighbour): each for each in corrected}
            classes = max(each.measured.cls for each in corrected)
            distances = torch.full((classes, *label.shape), torch.inf)
            offsets = torch.zeros_like(distances)
            for surface in self._surfaces(case, range(1, classes + 1)):
                distances[surface.cls - 1] = surface.distance
                field = self._field(by_surface[surface.cls, surface.neighbour], surface.mask, case.spacing)
                offsets[surface.cls - 1] = field.where(surface.near, offsets[surface.cls - 1])
            outline = _distance((label > 0) & (label != IGNORE), case)
            label = moved(distances, outline, offsets, label)
        if sure is not None:
            disagrees = (sure != IGNORE) & (sure != label) & (label != IGNORE)
            label = label.where(~disagrees, sure if self.remainder == "teacher" else IGNORE)
        return Revision(case.name, MENDED, label, [each.row() for each in corrected])

    def _field(self, corrected: Corrected, mask: Tensor, spacing: Sequence[float]) -> Tensor:
        """The offset of every voxel: one number, or one that changes smoothly around the object."""
        if self.offsets != "direction":
            return torch.tensor(corrected.offset)
        around = torch.tensor(corrected.measured.by_direction) - corrected.measured.offset
        return torch.einsum("k,k...->...", around, directions(mask, spacing)) + corrected.offset


def _distance(mask: Tensor, case: LabelledCase) -> Tensor:
    """Signed distance to a surface, as annotators could have moved it."""
    # Who draws slice by slice moves outlines within slices: other slices are out of reach.
    spacing = (*case.spacing[:-1], _FAR) if case.sliced else case.spacing
    return torch.from_numpy(signed_distance(mask.numpy(), spacing))
