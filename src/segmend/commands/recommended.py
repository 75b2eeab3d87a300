"""The method that ``segmend train`` takes if none is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segmend.data.case import Case, Quality
from segmend.methods import Method, OffsetCorrection, Supervised
from segmend.networks import Network
from segmend.progress import say


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the evidence so far says is best for some labels (``docs/decisions/014-default-method.md``).

    Attributes:
        method: the method, with its own defaults and batches.
        reason: in words, for the user.
    """

    method: type[Method]
    reason: str


EXPERT_ONLY = Recommendation(Supervised, "all labels are expert ones")
NOISY_ONLY = Recommendation(
    OffsetCorrection,
    "no label is known to be right (a few marked 'expert' in cases.csv would tell how far to believe it)",
)
BOTH = Recommendation(OffsetCorrection, "some labels are expert ones, some are noisy")


def recommended(cases: Sequence[Case]) -> Recommendation:
    """For training cases with labels of these qualities; cases without a label change nothing."""
    present = {case.quality for case in cases}
    if Quality.NOISY not in present:
        return EXPERT_ONLY
    return BOTH if Quality.EXPERT in present else NOISY_ONLY


def built_method(method: Callable[[Network], Method] | None, cases: Sequence[Case], network: Network) -> Method:
    """A method around its network.

    Args:
        method: as the user has chosen it; None takes the recommended one, and tells so.
        cases: the training cases.
        network: to be trained.
    """
    if not method:
        best = recommended(cases)
        say(f"method: {best.method.__name__}, as {best.reason}")
        method = best.method
    return method(network)
