"""From the measured offsets of all surfaces to those that the surfaces are shifted by: bias and shrinkage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from types import MappingProxyType

from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.functional.offsets.shrinkage import TeacherBias, default_bias, estimate_bias, shrink, spike_and_slab
from segmend.functional.offsets.surfaces import SurfaceKind

_MIN_CONTRAST = 1.1
"""Median contrast from which on a model is assumed to detect a kind of surface."""
_PRIOR_SCATTER_RATIO = 2.0
"""Assumed scatter of surfaces in excess of their standard error, in units of it, without expert labels.

With expert labels, it was 0 to 1.2 times in scans of hearts, and 1.5 to 1.8 times in microscopies of cells.
"""


@dataclass(frozen=True, slots=True)
class MeasuredOffset:
    """The measured offset of one surface of one label.

    Attributes:
        case: name of the case.
        annotator: who drew it; "" if unknown.
        expert: whether it is an expert label.
        kind: of the surface; bias and annotators' means are those of a kind.
        estimate: from the given surface to the one that the model detects.
    """

    case: str
    annotator: str
    expert: bool
    kind: SurfaceKind
    estimate: OffsetEstimate


@dataclass(frozen=True, slots=True)
class CorrectedOffset:
    """The offset that a surface is shifted by.

    Attributes:
        measured: before bias and shrinkage.
        offset: by which the surface is shifted, in mm.
        error: standard deviation of that; NaN if the model does not detect the surface, which then stays unchanged.
        annotator_mean: mean offset of the annotator's surfaces of this kind, in mm.
        bias: the model's own, which is subtracted.
    """

    measured: MeasuredOffset
    offset: float
    error: float
    annotator_mean: float
    bias: float

    @property
    def by_side(self) -> tuple[float, ...]:
        """Offsets of the two sides of each axis, in mm."""
        estimate = self.measured.estimate
        return tuple(self.offset + side - estimate.offset for side in estimate.by_side)


@dataclass(frozen=True, slots=True)
class SurfaceGroup:
    """The measured surfaces of one kind.

    Attributes:
        kind: between which classes they lie.
        expert: those of expert labels that the model detects.
        noisy: those of other labels that it detects.
        undetected: those of other labels that it does not detect: all if their median contrast is too low.
    """

    kind: SurfaceKind
    expert: list[MeasuredOffset] = field(default_factory=list)
    noisy: list[MeasuredOffset] = field(default_factory=list)
    undetected: list[MeasuredOffset] = field(default_factory=list)

    def bias(self, least_scatter: float = 0.0) -> TeacherBias | None:
        """Estimate the bias and scatter of the model from expert labels; None if it detects none of them."""
        errors = moderated_errors(self.expert)
        return estimate_bias([each.estimate.offset for each in self.expert], errors, least_scatter)

    def typical_error(self) -> float:
        """Root mean square of the standard errors of noisy labels; there must be at least one."""
        return math.sqrt(fmean(each.estimate.error**2 for each in self.noisy))


def surface_groups(measured: Sequence[MeasuredOffset]) -> Iterator[SurfaceGroup]:
    """Group the surfaces of all labels by kind."""
    for kind in dict.fromkeys(each.kind for each in measured):
        group = SurfaceGroup(kind)
        of_kind = [each for each in measured if each.kind == kind]
        learned = median(each.estimate.contrast for each in of_kind) >= _MIN_CONTRAST
        for each in of_kind:
            if learned and math.isfinite(each.estimate.error):
                (group.expert if each.expert else group.noisy).append(each)
            elif not each.expert:
                group.undetected.append(each)
        yield group


def scatter_ratios(measured: Sequence[MeasuredOffset]) -> dict[SurfaceKind, float]:
    """Scatter of expert surfaces beyond their own standard error, in units of the standard error of noisy labels.

    For each kind with detected surfaces of both.
    """
    ratios = {}
    for group in surface_groups(measured):
        bias = group.bias()
        if bias and group.noisy:
            ratios[group.kind] = bias.scatter / group.typical_error()
    return ratios


def teacher_bias(
    measured: Sequence[MeasuredOffset], least_ratio: Mapping[SurfaceKind, float] = MappingProxyType({})
) -> dict[SurfaceKind, TeacherBias]:
    """Estimate the bias and scatter of a model for each kind of surface, from expert labels, whose true offset is 0.

    Without expert labels the accuracy of a model is unknown: its bias is then assumed to be the median of the
    measurements, and it is conservatively assumed to scatter widely, so that only clear offsets are corrected.

    Args:
        measured: of all labels.
        least_ratio: lower bound of the scatter of expert surfaces, in units of the standard error of noisy labels. The
            model soon memorises a few expert labels, and detects these surfaces whatever it has learned of other
            cases; how certain it is of the noisy labels shows how much it has learned beyond.

    Returns:
        By kind, for those whose surfaces the model detects in noisy labels.
    """
    biases = {}
    for group in surface_groups(measured):
        if group.noisy:
            error, estimates = group.typical_error(), [each.estimate.offset for each in group.noisy]
            known = group.bias(least_ratio.get(group.kind, 0.0) * error)
            biases[group.kind] = known or default_bias(estimates, _PRIOR_SCATTER_RATIO * error)
    return biases


def shrink_offsets(
    measured: Sequence[MeasuredOffset], biases: Mapping[SurfaceKind, TeacherBias], *, hierarchical: bool = True
) -> list[CorrectedOffset]:
    """Subtract the bias from the offsets of all noisy labels, and shrink them towards the means of their annotators.

    An unknown fraction of the labels is assumed to be correct. Surfaces of kinds that the model does not detect yet,
    with hardly higher probabilities within most labels than far from them, stay unchanged, and so do single ones that
    it does not detect.

    Args:
        measured: of all labels.
        biases: the result of ``teacher_bias`` for them.
        hierarchical: shrink; otherwise only the bias is subtracted.
    """
    corrected = []
    for group in surface_groups(measured):
        corrected += [CorrectedOffset(each, 0.0, math.nan, 0.0, 0.0) for each in group.undetected]
        if not group.noisy:
            continue
        bias, errors = biases[group.kind], moderated_errors(group.noisy)
        estimates, annotators = (
            [each.estimate.offset for each in group.noisy],
            [each.annotator for each in group.noisy],
        )
        shrunk = shrink(estimates, errors, annotators, bias)
        shrunk = spike_and_slab(shrunk, estimates, errors, annotators, bias)
        for at, each in enumerate(group.noisy):
            offset, error = float(shrunk.mean[at]), float(shrunk.error[at])
            if not hierarchical:
                offset, error = estimates[at] - bias.mean, math.hypot(errors[at], bias.scatter)
            corrected.append(CorrectedOffset(each, offset, error, shrunk.group_mean[each.annotator], bias.mean))
    return corrected


def moderated_errors(measured: Sequence[MeasuredOffset]) -> list[float]:
    """Moderate the standard errors: move each halfway, as a variance, to the mean of all.

    Jackknife errors over four or six sides are so uncertain themselves that some are nearly 0; compare the moderated
    variances of Smyth (Stat. Appl. Genet. Mol. Biol. 2004).
    """
    if not measured:
        return []
    common = fmean(each.estimate.error**2 for each in measured)
    return [math.sqrt((each.estimate.error**2 + common) / 2) for each in measured]
