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
        # The margin keeps 0.3 * 40 / 0.75, which is 15.999..., on the stair that is meant.
        phase = math.floor(phase * stairs + 1e-9) / stairs
    return math.exp(-5 * (1 - phase) ** 2)


def ema_decay(step: int, decay: float = 0.99) -> float:
    """min(1 - 1/(step + 1), decay): at step 0 the average is a copy, later ever slower (UA-MT's rule)."""
    return min(1 - 1 / (step + 1), decay)
