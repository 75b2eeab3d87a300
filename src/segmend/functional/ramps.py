"""Weights that change over a run."""

from __future__ import annotations

import math


def sigmoid_ramp(progress: float, length: float = 1.0, stairs: int = 0) -> float:
    """exp(-5 (1 - progress / length)^2), then 1: the ramp of Laine & Aila, ICLR 2017.

    Args:
        progress: share of the run that is done, 0..1.
        length: share of the run after which the ramp stays at 1.
        stairs: if positive, the ramp rises in this many equal steps instead of continuously.

    Returns:
        Weight from exp(-5) = 0.0067 to 1.
    """
    phase = min(progress / length, 1.0) if length > 0 else 1.0
    if stairs:
        # The margin keeps 0.3 * 40 / 0.75, which is 15.999..., on the intended step.
        phase = math.floor(phase * stairs + 1e-9) / stairs
    return math.exp(-5 * (1 - phase) ** 2)


def keep_fraction(progress: float, noise_rate: float, length: float, exponent: float = 1.0) -> float:
    """1 - noise_rate min((progress / length)^exponent, 1): fraction of labels in co-teaching (Han et al., Eq. 3).

    Args:
        progress: share of the run that is done, 0..1.
        noise_rate: fraction of labels that are wrong, 0..1.
        length: fraction of the run after which that many are dropped; 0 drops them from the start.
        exponent: above 1, dropping starts more slowly.
    """
    phase = min(progress / length, 1.0) if length > 0 else 1.0
    return 1 - noise_rate * math.pow(phase, exponent)


def linear_ramp(progress: float, start: float, end: float) -> float:
    """0 up to ``start``, 1 from ``end`` on, and linear in between; all are fractions of the run."""
    if progress >= end:
        return 1.0
    return (progress - start) / (end - start) if progress > start else 0.0


def rounds(progress: float, start: float, interval: float) -> int:
    """How often an action at ``start`` and then in every interval is due up to now; all are fractions of the run."""
    # The margin keeps 0.15 - 0.1, five intervals of 0.01 but for rounding, from being four.
    return max(math.floor((progress - start) / interval + 1e-9) + 1, 0)


def ema_decay(step: int, decay: float = 0.99) -> float:
    """min(1 - 1/(step + 1), decay): at step 0 the average is a copy, later ever slower (UA-MT's rule)."""
    return min(1 - 1 / (step + 1), decay)
