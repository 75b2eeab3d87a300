"""From what was measured of each label's surface to what it is moved by: bias, annotators, shrinkage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from types import MappingProxyType

from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.shrinkage import Zero, assumed_zero, known_zero, shrink, with_some_zero

Kind = tuple[int, int | None]
"""What surfaces are alike by: their class, and the one on the other side; None if all sides are one."""
_SEEN = 1.1
"""Median contrast from which on a model is taken to see a surface."""
_FEARED_RATIO = 2.0
"""How many times their standard error surfaces are taken to scatter beyond it if no expert label tells.

Where some did tell, it was 0 to 1.2 times in scans of hearts, and 1.5 to 1.8 times in microscopies of cells.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Where a teacher sees one surface of one label.

    Attributes:
        case: name of the case.
        annotator: who drew it; "" if not told.
        expert: whether it is right.
        cls: the class.
        neighbour: the class on the other side of the surface; None if all sides are one.
        seen: offset from the given surface to the seen one.
    """

    case: str
    annotator: str
    expert: bool
    cls: int
    neighbour: int | None
    seen: OffsetEstimate

    @property
    def kind(self) -> Kind:
        """Those between the same classes are alike."""
        return self.cls, self.neighbour


@dataclass(frozen=True, slots=True)
class Corrected:
    """What was made of it.

    Attributes:
        measured: before bias and shrinkage.
        offset: by which the surface is moved, in mm.
        error: standard deviation of that; NaN if the teacher does not see the surface, and it stays.
        annotator_mean: mean offset of the annotator's labels of this class, in mm.
        bias: the teacher's own, which is taken off.
    """

    measured: Measured
    offset: float
    error: float
    annotator_mean: float
    bias: float

    @property
    def by_side(self) -> tuple[float, ...]:
        """Offsets of the two sides of each axis, in mm."""
        return tuple(self.offset + side - self.measured.seen.offset for side in self.measured.seen.by_side)

    def row(self) -> dict[str, str | float]:
        """A row of offsets.csv."""
        measured = self.measured
        return {
            "label": measured.cls,
            **({} if measured.neighbour is None else {"beside": measured.neighbour}),
            "annotator": measured.annotator,
            "measured_mm": measured.seen.offset,
            "measured_error_mm": measured.seen.error,
            "offset_mm": self.offset,
            "error_mm": self.error,
            "annotator_mean_mm": self.annotator_mean,
            "teacher_bias_mm": self.bias,
        }


def scatter_ratios(measured: Sequence[Measured]) -> dict[Kind, float]:
    """How many times the standard error of other labels what is seen of expert surfaces scatters beyond its own.

    Of each kind of which surfaces of both are seen.
    """
    found = {}
    for kind, known, moved, _ in _sorted(measured):
        zero = _zero(known)
        if zero and moved:
            found[kind] = zero.scatter / _typical_error(moved)
    return found


def trusts(measured: Sequence[Measured]) -> dict[tuple[str, Kind], float]:
    """How sharply a model sees each surface of labels that are not expert ones, compared with expert surfaces, 0..1.

    Where the sides of a label do not agree on one offset, its shape is wrong, or the model cannot tell: its standard
    error is large. A surface counts as its inverse variance against that of expert ones, which is the weight of an
    observation in any mean; no more than these do, and not at all if the model does not see it. Of each case and kind
    of which surfaces of both are seen.
    """
    found: dict[tuple[str, Kind], float] = {}
    for kind, known, moved, unseen in _sorted(measured):
        if known and moved:
            expert = fmean(each.seen.error**2 for each in known)
            errors = _steadied([each.seen.error for each in moved])
            found |= {(each.case, kind): min(1.0, expert / error**2) for each, error in zip(moved, errors, strict=True)}
            found |= {(each.case, kind): 0.0 for each in unseen}
    return found


def sampling_weights(trust: Mapping[str, float], expert: int) -> dict[str, float]:
    """How often each label that is not an expert one is to come into batches, where expert ones come with 1.

    Trusted labels are worth as much as expert ones, and all are drawn alike. Where none is trusted, batches of which
    half is expert protect best; so all other labels together are then drawn as often as the expert ones. In between,
    their odds go geometrically, by the mean trust; each label takes part in proportion to its own.

    Args:
        trust: of each such label, 0..1; at least one.
        expert: number of expert labels, at least 1. If these are the majority, half a batch of others would be too
            much, and all together are drawn as often as there are labels.
    """
    mean, least = fmean(trust.values()), min(expert, len(trust))
    together = least * (len(trust) / least) ** mean
    parts = trust if mean else dict.fromkeys(trust, 1.0)
    return {case: together * part / sum(parts.values()) for case, part in parts.items()}


def corrected(
    measured: Sequence[Measured],
    *,
    hierarchical: bool,
    least_ratio: Mapping[Kind, float] = MappingProxyType({}),
) -> list[Corrected]:
    """The offsets of all labels that are not expert ones, of which an unknown share may be right all the same.

    Surfaces between the same classes have a bias, a scatter and annotators' means of their own. Those that the model
    does not see yet, of which it says hardly more within most labels than far from them, stay where they are, and so
    do single ones that it does not see. Without expert labels nothing tells how far a model can be believed: it is
    then feared to scatter widely, and only offsets that stand out all the same are undone.

    Args:
        measured: of all labels.
        hierarchical: shrink towards the annotator's mean; otherwise every estimate is taken as it is.
        least_ratio: how many times the standard error of other labels the scatter of expert surfaces is at least
            taken to be. Few expert labels are soon known by heart, and are found again whatever the model knows of
            others; how sure it is of these tells how much it has learned beyond.
    """
    found = []
    for kind, known, moved, unseen in _sorted(measured):
        found += [Corrected(each, 0.0, math.nan, 0.0, 0.0) for each in unseen]
        if not moved:
            continue
        typical, estimates = _typical_error(moved), [each.seen.offset for each in moved]
        zero = _zero(known, least_ratio.get(kind, 0.0) * typical) or assumed_zero(estimates, _FEARED_RATIO * typical)
        errors = _steadied([each.seen.error for each in moved])
        annotators = [each.annotator for each in moved]
        shrunk = shrink(estimates, errors, annotators, zero)
        shrunk = with_some_zero(shrunk, estimates, errors, annotators, zero)
        for at, each in enumerate(moved):
            offset, error = float(shrunk.mean[at]), float(shrunk.error[at])
            if not hierarchical:
                offset, error = estimates[at] - zero.bias, math.hypot(errors[at], zero.scatter)
            found.append(Corrected(each, offset, error, shrunk.group_mean[each.annotator], zero.bias))
    return found


def _sorted(
    measured: Sequence[Measured],
) -> Iterator[tuple[Kind, list[Measured], list[Measured], list[Measured]]]:
    """Of each kind of surface the seen ones of expert labels, those of others, and the unseen ones of others."""
    for kind in dict.fromkeys(each.kind for each in measured):
        alike = [each for each in measured if each.kind == kind]
        learned = median(each.seen.contrast for each in alike) >= _SEEN
        known: list[Measured] = []
        moved: list[Measured] = []
        unseen: list[Measured] = []
        for each in alike:
            if learned and math.isfinite(each.seen.error):
                (known if each.expert else moved).append(each)
            elif not each.expert:
                unseen.append(each)
        yield kind, known, moved, unseen


def _zero(known: Sequence[Measured], least_scatter: float = 0.0) -> Zero | None:
    errors = _steadied([each.seen.error for each in known])
    return known_zero([each.seen.offset for each in known], errors, least_scatter)


def _typical_error(measured: Sequence[Measured]) -> float:
    """Root mean square of the standard errors."""
    return math.sqrt(fmean(each.seen.error**2 for each in measured))


def _steadied(errors: Sequence[float]) -> list[float]:
    """Each halfway, as a variance, to the mean of all.

    Those of jackknives over four or six sides are so uncertain themselves that some come out as nearly 0; compare the
    moderated variances of Smyth (Stat. Appl. Genet. Mol. Biol. 2004).
    """
    if not errors:
        return []
    common = fmean(error**2 for error in errors)
    return [math.sqrt((error**2 + common) / 2) for error in errors]
