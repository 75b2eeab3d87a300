"""Calibration of the noise strength to a target Dice."""

from __future__ import annotations

from collections.abc import Callable

from segmend.core.errors import InputError

STRONGEST = 16.0
"""Largest strength that is tried."""

_ROUNDS = 16
"""Halvings of the range after which no finer steps of the noise are expected."""


def calibrate(mean_dice: Callable[[float], float], wanted: float, tolerance: float = 0.005) -> float:
    """Find the strength of a recipe that gives a wanted mean Dice of noisy to true labels, by bisection.

    Args:
        mean_dice: mean Dice at a strength; of the same draws each time, so that it falls smoothly.
        wanted: mean Dice to reach, 0..1.
        tolerance: largest allowed difference of the mean from it.

    Raises:
        InputError: even the strongest noise leaves a higher Dice, or the noise jumps past the wanted one.
    """
    tried = {0.0: 1.0, 1.0: mean_dice(1.0)}
    low, high = 0.0, 1.0
    while tried[high] > wanted and high < STRONGEST:
        low, high = high, 2 * high
        tried[high] = mean_dice(high)
    lowest = min(tried.values())
    if lowest > wanted + tolerance:
        raise _out_of_reach(
            wanted, f"this recipe gives {lowest:.3f} to 1", "ask for a Dice in that range, or change the recipe"
        )
    for _ in range(_ROUNDS):
        nearest = min(tried, key=lambda strength: abs(tried[strength] - wanted))
        if abs(tried[nearest] - wanted) <= tolerance:
            return nearest
        middle = (low + high) / 2
        tried[middle] = mean_dice(middle)
        low, high = (middle, high) if tried[middle] > wanted else (low, middle)
    raise _out_of_reach(
        wanted,
        f"the nearest that this recipe gives is {tried[nearest]:.3f}",
        "ask for that, take a recipe with finer steps (RadiusMorphology), or corrupt more cases",
    )


def _out_of_reach(wanted: float, problem: str, remedy: str) -> InputError:
    return InputError("dice", f"a mean Dice of {wanted} cannot be reached: {problem}", remedy, code="invalid-value")
