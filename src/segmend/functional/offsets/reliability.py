"""Reliability of labels, from how precisely a model locates their surfaces, and how often to sample them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from segmend.functional.offsets.correction import MeasuredOffset, moderated_errors, surface_groups
from segmend.functional.offsets.surfaces import SurfaceKind


def surface_reliabilities(measured: Sequence[MeasuredOffset]) -> dict[tuple[str, SurfaceKind], float]:
    r"""Compute the reliability of each surface of noisy labels, relative to expert surfaces, 0..1.

    Where the sides of a label do not agree on one offset, its shape is wrong, or the model cannot locate it: its
    standard error e is large. The reliability is the inverse variance relative to that of expert surfaces,

        w = min(1, E^2 / e^2),

    with the mean E^2 of their variances. It is the weight of an observation in any mean; 0 if the model does not detect
    the surface.

    Args:
        measured: of all labels.

    Returns:
        By case and kind, for each kind with detected surfaces of both expert and noisy labels.
    """
    reliabilities: dict[tuple[str, SurfaceKind], float] = {}
    for group in surface_groups(measured):
        if group.expert and group.noisy:
            expert = fmean(each.estimate.error**2 for each in group.expert)
            errors = zip(group.noisy, moderated_errors(group.noisy), strict=True)
            reliabilities |= {(each.case, each.kind): min(1.0, expert / error**2) for each, error in errors}
            reliabilities |= {(each.case, each.kind): 0.0 for each in group.undetected}
    return reliabilities


def sampling_weights(reliability: Mapping[str, float], expert: int) -> dict[str, float]:
    r"""Compute the sampling weight of each noisy label, relative to 1 for expert ones.

    Reliable labels are worth as much as expert ones, and all are sampled uniformly. If none is reliable, batches with
    half expert samples protect best; so all noisy labels together are then sampled as often as the expert ones. In
    between, the odds of a noisy against an expert sample are (N / E)^w, by the mean reliability w of the N noisy labels
    and the number E of expert ones; each noisy label contributes in proportion to its own reliability.

    Args:
        reliability: of each noisy label, 0..1; at least one.
        expert: number of expert labels, at least 1. If these are the majority, half a batch of noisy ones would be too
            much, and all noisy labels together are sampled in proportion to their number.
    """
    mean, least = fmean(reliability.values()), min(expert, len(reliability))
    together = least * (len(reliability) / least) ** mean
    parts = reliability if mean else dict.fromkeys(reliability, 1.0)
    return {case: together * part / sum(parts.values()) for case, part in parts.items()}
