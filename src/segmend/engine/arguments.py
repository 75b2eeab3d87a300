"""The arguments of ``train``, checked and turned into what they stand for, before any work starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.progress import console
from segmend.core.unallocated import build_unallocated
from segmend.data.image import read_grid
from segmend.data.remarks import unlabelled
from segmend.networks import Network


def built(network: Callable[[int, int, int], Network], channels: int, classes: int, dimensions: int) -> Network:
    """The network.

    Raises:
        InputError: it does not take these arguments, does not fit into memory, or is no network.
    """
    try:
        build_unallocated(lambda: network(channels, classes, dimensions))
        made: object = network(channels, classes, dimensions)
    except InputError as error:
        where = "--network" if error.where == "the network" else error.where
        raise InputError(where, error.problem, error.remedy) from error
    except Exception as error:  # libraries refuse an argument by errors of many kinds
        problem = f"cannot be built ({' '.join(str(error).split())})"
        raise InputError("--network", problem, "correct its arguments; --network.help NAME explains them") from error
    if not isinstance(made, Network):
        raise InputError("--network", f"gives {made!r}, which is not a Network", "give the class of a network")
    return made


def report_unlabelled(cases: Sequence[Case]) -> None:
    """Says how many training cases have no label file, if any."""
    if missing := unlabelled(cases):
        console.print(missing, markup=False, soft_wrap=True)


def dimensions_of(cases: Sequence[Case]) -> int:
    """Return the number of dimensions common to all scans, by their headers.

    Raises:
        InputError: some have two, some three.
    """
    examples = {read_grid(file).dimensions: file for case in cases for file in case.images}
    if len(examples) > 1:
        problem = f"is two-dimensional, but {examples[3].name} is three-dimensional"
        raise InputError(examples[2], problem, "keep 2D and 3D cases in folders of their own")
    return next(iter(examples))


def check_numbers(
    iterations: int, first_iterations: int | None, checkpoint_every: int, seed: int, foreground: float
) -> None:
    """Makes sure that these numbers can be used.

    Raises:
        InputError: one of them cannot.
    """
    for name, value, least in (
        ("iterations", iterations, 1),
        ("first_iterations", first_iterations, 1),
        ("checkpoint_every", checkpoint_every, 1),
        ("seed", seed, 0),
    ):
        if value is not None and value < least:
            raise InputError(f"--{name}", f"is {value}", f"give {least} or more")
    if not 0 <= foreground <= 1:
        raise InputError("--foreground", f"is {foreground}", "give a share from 0 to 1")


def check_patch_axes(patch: Sequence[int], dimensions: int) -> None:
    """Makes sure that the patch has one side for each axis of the network.

    Raises:
        InputError: it has not, or one is not positive.
    """
    if len(patch) != dimensions or min(patch) < 1:
        shown = " ".join(map(str, patch))
        raise InputError(f"--patch {shown}", f"is not {dimensions} positive sides", f"give {dimensions} numbers")
