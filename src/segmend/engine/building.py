"""The network and the method of a training, built for its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segmend.core.case import Case, Quality
from segmend.core.errors import InputError
from segmend.core.progress import say
from segmend.core.unallocated import build_unallocated
from segmend.methods import Method, OffsetCorrection, Supervised
from segmend.networks import Network


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The best method for some labels by the evidence so far (``docs/decisions/014-default-method.md``).

    Attributes:
        method: the method, with its own defaults and batches.
        reason: reason for the choice, for the user.
    """

    method: type[Method]
    reason: str


EXPERT_ONLY = Recommendation(Supervised, "all labels are expert ones")
NOISY_ONLY = Recommendation(
    OffsetCorrection,
    "there are no expert labels (a few marked 'expert' in cases.csv would show how reliable its estimates are)",
)
BOTH = Recommendation(OffsetCorrection, "some labels are expert ones, some are noisy")

SOFT_LABELS = Recommendation(Supervised, "it learns from soft labels")


def recommended(cases: Sequence[Case]) -> Recommendation:
    """Choose a method for training cases with labels of these qualities; cases without a label change nothing."""
    present = {case.quality for case in cases}
    if Quality.NOISY not in present:
        return EXPERT_ONLY
    return BOTH if Quality.EXPERT in present else NOISY_ONLY


def build_network(network: Callable[[int, int, int], Network], channels: int, classes: int, dimensions: int) -> Network:
    """Build a network for images with these channels, classes and dimensions.

    Raises:
        InputError: it does not take these arguments, does not fit into memory, or is no network.
    """
    try:
        build_unallocated(lambda: network(channels, classes, dimensions))
        made: object = network(channels, classes, dimensions)
    except InputError as error:
        raise error.but(where="network" if error.where == "the network" else error.where) from error
    except Exception as error:  # libraries refuse an argument by errors of many kinds
        raise _cannot_be_built("network", error) from error
    if not isinstance(made, Network):
        raise InputError(
            "network", f"gives {made!r}, which is not a Network", "give the class of a network", code="invalid-value"
        )
    return made


def chosen_method(method: Callable[[Network], Method] | None, cases: Sequence[Case]) -> Callable[[Network], Method]:
    """The method that the user has named, or the recommended one, which is then printed."""
    if method is not None:
        return method
    best = SOFT_LABELS if any(case.soft for case in cases) else recommended(cases)
    say(f"method: {best.method.__name__}, as {best.reason}")
    return best.method


def build_method(method: Callable[[Network], Method], network: Network, cases: Sequence[Case] = ()) -> Method:
    """Build a method around its network.

    Args:
        method: gives the method. If it takes ``annotators`` and has none, it gets those of the noisy labels.
        network: to be trained.
        cases: training cases.

    Raises:
        InputError: the method does not take its arguments, or is none.
    """
    try:
        made: object = method(network)
    except InputError:
        raise
    except Exception as error:  # constructors refuse an argument by errors of many kinds
        raise _cannot_be_built("method", error) from error
    if not isinstance(made, Method):
        raise InputError(
            "method", f"gives {made!r}, which is not a Method", "give the class of a method", code="invalid-value"
        )
    return _told_annotators(made, cases)


def _told_annotators(method: Method, cases: Sequence[Case]) -> Method:
    """The method with the names of all who drew noisy labels, if it takes annotators and the user has named none."""
    names = sorted({case.annotator for case in cases if case.quality is Quality.NOISY})
    named = method.arguments.get("annotators", names)
    if names and not named:
        return type(method)(**method.arguments | {"annotators": names})
    if left_out := [repr(name) for name in names if name not in named]:
        problem = f"leaves out {', '.join(left_out)}, by whom there are noisy training labels"
        raise InputError("method.annotators", problem, "name all annotators, or leave it out", code="mismatch")
    return method


def _cannot_be_built(argument: str, error: Exception) -> InputError:
    problem = f"cannot be built ({' '.join(str(error).split())})"
    return InputError(
        argument,
        problem,
        f"correct its arguments; 'segmend train --{argument}.help NAME' explains them",
        code="invalid-value",
    )
