"""From the measured offset of each surface to the offset it is shifted by: bias, annotators, shrinkage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from types import MappingProxyType

from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.shrinkage import TeacherBias, default_bias, estimate_bias, shrink, spike_and_slab

Kind = tuple[int, int | None]
"""The kind of a surface: its class, and the class on the other side; None if all sides are one surface."""
_SEEN = 1.1
"""Median contrast from which on a model is assumed to see a surface."""
_FEARED_RATIO = 2.0
"""Assumed scatter of surfaces in excess of their standard error, in units of it, without expert labels.

With expert labels, it was 0 to 1.2 times in scans of hearts, and 1.5 to 1.8 times in microscopies of cells.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Where a teacher sees one surface of one label.

    Attributes:
        case: name of the case.
        annotator: who drew it; "" if unknown.
        expert: whether it is an expert label.
        cls: the class.
        neighbour: the class on the other side of the surface; None if all sides are one surface.
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
        """Surfaces between the same classes are of the same kind."""
        return self.cls, self.neighbour


@dataclass(frozen=True, slots=True)
class Corrected:
    """The shrunk offset of a surface.

    Attributes:
        measured: before bias and shrinkage.
        offset: by which the surface is shifted, in mm.
        error: standard deviation of that; NaN if the teacher does not see the surface, which then stays unchanged.
        annotator_mean: mean offset of the annotator's labels of this class, in mm.
        bias: the teacher's own, which is subtracted.
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
    """Scatter of expert surfaces beyond their own standard error, in units of the standard error of other labels.

    For each kind with visible surfaces of both.
    """
    found = {}
    for kind, known, moved, _ in _sorted(measured):
        zero = _zero(known)
        if zero and moved:
            found[kind] = zero.scatter / _typical_error(moved)
    return found


def trusts(measured: Sequence[Measured]) -> dict[tuple[str, Kind], float]:
    """How sharply a model sees each surface of non-expert labels, compared with expert surfaces, 0..1.

    Where the sides of a label do not agree on one offset, its shape is wrong, or the model cannot locate it: its
    standard error is large. A surface is weighted by its inverse variance relative to that of expert ones, the weight
    of an observation in any mean; by at most 1, and by 0 if the model does not see it. For each case and each kind with
    visible surfaces of both.
    """
    found: dict[tuple[str, Kind], float] = {}
    for kind, known, moved, unseen in _sorted(measured):
        if known and moved:
            expert = fmean(each.seen.error**2 for each in known)
            errors = _moderated_errors([each.seen.error for each in moved])
            found |= {(each.case, kind): min(1.0, expert / error**2) for each, error in zip(moved, errors, strict=True)}
            found |= {(each.case, kind): 0.0 for each in unseen}
    return found


def sampling_weights(trust: Mapping[str, float], expert: int) -> dict[str, float]:
    """Compute the sampling weight of each non-expert label, relative to 1 for expert ones.

    Reliable labels are worth as much as expert ones, and all are sampled uniformly. If none is reliable, batches with
    half expert samples protect best; so all other labels together are then sampled as often as the expert ones. In
    between, their odds are interpolated geometrically, by the mean reliability; each label contributes in proportion to
    its own.

    Args:
        trust: reliability of each such label, 0..1; at least one.
        expert: number of expert labels, at least 1. If these are the majority, half a batch of others would be too
            much, and all others together are sampled in proportion to their number.
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
    """Estimate the offsets of all non-expert labels; an unknown fraction of these labels may be correct.

    Surfaces between the same classes have their own bias, scatter and annotators' means. Those that the model does not
    see yet, with hardly higher probabilities within most labels than far from them, stay unchanged, and so do single
    ones that it does not see. Without expert labels the accuracy of a model is unknown: it is then conservatively
    assumed to scatter widely, and only offsets that are clear nevertheless are corrected.

    Args:
        measured: of all labels.
        hierarchical: shrink towards the annotator's mean; otherwise every estimate is used as it is.
        least_ratio: lower bound of the scatter of expert surfaces, in units of the standard error of other labels. The
            model soon memorises a few expert labels, and finds them again whatever it knows of others; how certain it
            is of the others shows how much it has learned beyond.
    """
    found = []
    for kind, known, moved, unseen in _sorted(measured):
        found += [Corrected(each, 0.0, math.nan, 0.0, 0.0) for each in unseen]
        if not moved:
            continue
        typical, estimates = _typical_error(moved), [each.seen.offset for each in moved]
        zero = _zero(known, least_ratio.get(kind, 0.0) * typical) or default_bias(estimates, _FEARED_RATIO * typical)
        errors = _moderated_errors([each.seen.error for each in moved])
        annotators = [each.annotator for each in moved]
        shrunk = shrink(estimates, errors, annotators, zero)
        shrunk = spike_and_slab(shrunk, estimates, errors, annotators, zero)
        for at, each in enumerate(moved):
            offset, error = float(shrunk.mean[at]), float(shrunk.error[at])
            if not hierarchical:
                offset, error = estimates[at] - zero.bias, math.hypot(errors[at], zero.scatter)
            found.append(Corrected(each, offset, error, shrunk.group_mean[each.annotator], zero.bias))
    return found


def _sorted(
    measured: Sequence[Measured],
) -> Iterator[tuple[Kind, list[Measured], list[Measured], list[Measured]]]:
    """For each kind of surface, the seen ones of expert labels, those of others, and the unseen ones of others."""
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


def _zero(known: Sequence[Measured], least_scatter: float = 0.0) -> TeacherBias | None:
    errors = _moderated_errors([each.seen.error for each in known])
    return estimate_bias([each.seen.offset for each in known], errors, least_scatter)


def _typical_error(measured: Sequence[Measured]) -> float:
    """Root mean square of the standard errors."""
    return math.sqrt(fmean(each.seen.error**2 for each in measured))


def _moderated_errors(errors: Sequence[float]) -> list[float]:
    """Moderate the errors: move each halfway, as a variance, to the mean of all.

    Jackknife errors over four or six sides are so uncertain themselves that some are nearly 0; compare the moderated
    variances of Smyth (Stat. Appl. Genet. Mol. Biol. 2004).
    """
    if not errors:
        return []
    common = fmean(error**2 for error in errors)
    return [math.sqrt((error**2 + common) / 2) for error in errors]
