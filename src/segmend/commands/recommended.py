"""The method that ``segmend train`` takes if none is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segmend.data.case import Case, Quality
from segmend.data.sampling import Composition
from segmend.methods import Method, OffsetCorrection, Supervised
from segmend.networks import Network
from segmend.progress import console


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the evidence so far says is best for some labels (``docs/decisions/014-default-method.md``).

    Attributes:
        method: the method, with its own defaults.
        batch: what its batches hold.
        reason: in words, for the user.
    """

    method: type[Method]
    batch: Composition
    reason: str


EXPERT_ONLY = Recommendation(Supervised, Supervised.needs, "all labels are expert ones")
NOISY_ONLY = Recommendation(OffsetCorrection, OffsetCorrection.needs, "no label is known to be right")
BOTH = Recommendation(OffsetCorrection, OffsetCorrection.needs, "some labels are expert ones, some are noisy")


def recommended(cases: Sequence[Case]) -> Recommendation:
    """For training cases with labels of these qualities; cases without a label change nothing."""
    present = {case.quality for case in cases}
    if Quality.NOISY not in present:
        return EXPERT_ONLY
    return BOTH if Quality.EXPERT in present else NOISY_ONLY


def built_method(
    method: Callable[[Network], Method] | None, cases: Sequence[Case], network: Network
) -> tuple[Method, Composition]:
    """A method around its network, and what its batches hold unless the user says otherwise.

    Args:
        method: as the user has chosen it; None takes the recommended one, and tells so.
        cases: the training cases.
        network: to be trained.
    """
    if method:
        built = method(network)
        return built, built.needs
    best = recommended(cases)
    console.print(f"method: {best.method.__name__}, as {best.reason}", markup=False)
    return best.method(network), best.batch
