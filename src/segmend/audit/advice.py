"""What to do about a class that the models of an audit have not learned, from their learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from segmend.audit.folder import AuditFolder
from segmend.engine.run import Run

STILL_LEARNING = 0.05
"""Fall of the loss, from the third to the last quarter of the steps, from which longer training is advised."""
_LONGER = ((0.2, 4), (STILL_LEARNING, 2))
"""How many times as many steps are advised, by the least fall of the loss."""


def advice(place: AuditFolder) -> str:
    """What gives a model that can judge a class: more steps, expert labels or better probabilities, in a sentence.

    Args:
        place: the audit; the runs of its folds may be gone.
    """
    logs = sorted(Run(folder).log for folder in place.runs())
    return of_training(logs) if logs else "Give probabilities of a model that was trained longer or on better labels."


def of_training(logs: Sequence[Path]) -> str:
    """Advice from the learning curves of runs.

    Args:
        logs: their ``log.csv``, of at least one run; columns ``step`` and ``loss``.
    """
    curves = [pd.read_csv(log, usecols=["step", "loss"]) for log in logs]
    steps = max(int(curve["step"].iloc[-1]) for curve in curves)
    fall = float(np.median([fall_of_loss(curve["loss"].to_numpy(float)) for curve in curves]))
    for least, times in _LONGER:
        if fall >= least:
            return (
                f"Train for about {times * steps} steps: the loss still fell by {fall:.0%} from the third to the "
                f"last quarter of {steps}."
            )
    return (
        f"More steps hardly help: the loss fell by {max(fall, 0):.0%} only from the third to the last quarter of "
        f"{steps}. Mark labels that are known to be right as 'expert' in cases.csv, or give better probabilities."
    )


def fall_of_loss(loss: np.ndarray) -> float:
    """Relative fall of the mean loss from the third to the last quarter of a curve; 0 if it is too short to tell.

    Args:
        loss: ``[n]`` in the order of the steps.
    """
    if len(loss) < 4:
        return 0.0
    quarter = len(loss) // 4
    before, after = float(loss[-2 * quarter : -quarter].mean()), float(loss[-quarter:].mean())
    return (before - after) / abs(before) if before else 0.0
