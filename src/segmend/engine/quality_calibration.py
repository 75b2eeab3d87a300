r"""Calibration of the expected Dice: a temperature for each class, chosen on out-of-fold predictions.

The expected Dice of a mask (``functional.expected_dice``) is its mean Dice only if probabilities are frequencies. With
a temperature T of a class, its probabilities become p^{1/T} / (p^{1/T} + (1 - p)^{1/T}). T minimises the sum over the
out-of-fold predictions of (expected Dice - true Dice)^2: it calibrates what is reported, not the single voxel.

Out-of-fold predictions are those of one network each, without test-time views; a cross-validation predicts by the mean
of its networks, which is smoother and usually better. The calibration of an ensemble is therefore an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from segmend.core.errors import InputError
from segmend.core.masks import Mask
from segmend.core.paths import read_json
from segmend.core.tables import write_json
from segmend.engine.evidence import CODES, decode, encode
from segmend.functional.expected_dice import expected_dice, tempered_map

LIMITS = (0.1, 10.0)
"""Temperatures that are tried."""

FEWEST = 5
"""Predictions of a class that are needed to choose its temperature."""

_PROBABILITIES = decode(np.arange(CODES, dtype=np.uint8))
LEAST = float((_PROBABILITIES[0] + _PROBABILITIES[1]) / 2)
"""Probabilities up to this are 0 to the calibration, 0.0003: out-of-fold predictions resolve nothing smaller."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes the expected Dice of a source of predictions calibrated, or why nothing does.

    Attributes:
        temperatures: by class; a class without one is not calibrated.
        predictions: how many out-of-fold predictions each temperature was chosen on.
        reason: why classes without a temperature are not calibrated.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    predictions: Mapping[str, int] = field(default_factory=dict)
    reason: str = "a single run has no out-of-fold predictions"

    def note(self, label: str) -> str:
        """Whether the expected Dice of a class is calibrated, in words, for quality.csv."""
        if label in self.temperatures:
            return f"calibrated on {self.predictions[label]} out-of-fold predictions"
        return f"not calibrated: {self.reason}"

    def apply(self, label: str, probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """The calibrated map ``[*spatial]`` of a class, or the same without a temperature."""
        if label not in self.temperatures:
            return probability
        return tempered_map(probability, self.temperatures[label], LEAST)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The calibration in ``calibration.json``.

        Raises:
            InputError: the file is damaged.
        """
        remedy = "delete it, and run the same 'segmend train' again, which writes it"
        try:
            chosen = {
                str(label): (float(entry["temperature"]), int(entry["predictions"]))
                for label, entry in read_json(path)["classes"].items()
                if entry["temperature"] is not None
            }
        except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = error.problem if isinstance(error, InputError) else repr(error)
            raise InputError(path, f"is damaged ({reason})", remedy, code="damaged") from error
        if not all(LIMITS[0] <= temperature <= LIMITS[1] for temperature, _ in chosen.values()):
            raise InputError(path, "is damaged (a temperature is out of range)", remedy, code="damaged")
        return cls(
            {label: temperature for label, (temperature, _) in chosen.items()},
            {label: count for label, (_, count) in chosen.items()},
            f"there are fewer than {FEWEST} out-of-fold predictions of this class",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """An out-of-fold prediction of a class: sums of its probabilities, and its true Dice.

    Attributes:
        fold: that held the case out.
        voxels: of the predicted mask, above 0.
        within: ``[CODES]`` voxels of the mask by the code of their probability.
        total: ``[CODES]`` all voxels by that code.
        dice: true Dice of the mask, 0..1.
    """

    fold: int
    voxels: int
    within: NDArray[np.int64]
    total: NDArray[np.int64]
    dice: float

    @classmethod
    def of(
        cls, fold: int, mask: Mask, probability: NDArray[np.float32], dice: float, known: Mask | None = None
    ) -> Self:
        """Count the voxels.

        Args:
            fold: that held the case out.
            mask: ``[*spatial]`` predicted.
            probability: ``[*spatial]`` of the class.
            dice: true Dice of the mask.
            known: ``[*spatial]`` annotated voxels; all by default.
        """
        codes = encode(probability)
        everywhere = np.ones(mask.shape, bool) if known is None else known
        within, total = (np.bincount(codes[where], minlength=CODES) for where in (mask & everywhere, everywhere))
        return cls(fold, int(within.sum()), within, total, dice)

    def expected(self, temperature: float) -> float:
        """Expected Dice of the mask at a temperature."""
        probabilities = tempered_map(_PROBABILITIES, temperature, LEAST).astype(np.float64)
        within, total = (float(probabilities @ counts) for counts in (self.within, self.total))
        return expected_dice(self.voxels, within, total)


def choose_temperature(outcomes: Sequence[Outcome]) -> float:
    """The temperature in ``LIMITS`` that minimises the squared error of the expected Dice over some predictions."""

    def squared_error(logarithm: float) -> float:
        return sum((each.expected(math.exp(logarithm)) - each.dice) ** 2 for each in outcomes)

    bounds = (math.log(LIMITS[0]), math.log(LIMITS[1]))
    # The error has flat ends: where it is lowest is looked up before it is found exactly.
    tried = np.linspace(*bounds, 24)
    best = int(np.argmin([squared_error(each) for each in tried]))
    around = (tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)])
    found = minimize_scalar(squared_error, bounds=around, method="bounded")
    return float(np.clip(math.exp(found.x), *LIMITS))


def calibrated_class(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Choose the temperature of a class, and measure what it brings.

    Args:
        outcomes: all out-of-fold predictions of the class that are not empty.

    Returns:
        ``temperature`` (None with fewer than ``FEWEST``), ``predictions``, root mean squared errors of the expected
        Dice ``error_before`` and ``error_after``, and correlations with the true one ``correlation_before`` and
        ``correlation_after``. After means cross-fitted: at the temperature chosen on the other folds.
    """
    entry: dict[str, Any] = {"temperature": None, "predictions": len(outcomes)}
    if len(outcomes) < FEWEST:
        return entry
    true = np.array([each.dice for each in outcomes])
    before = np.array([each.expected(1.0) for each in outcomes])
    entry["temperature"] = choose_temperature(outcomes)
    entry |= {"error_before": _error(before, true), "correlation_before": _correlation(before, true)}
    others = {each.fold: [other for other in outcomes if other.fold != each.fold] for each in outcomes}
    if all(others.values()):
        temperatures = {fold: choose_temperature(rest) for fold, rest in others.items()}
        after = np.array([each.expected(temperatures[each.fold]) for each in outcomes])
        entry |= {"error_after": _error(after, true), "correlation_after": _correlation(after, true)}
    return entry


def write_calibration(
    path: Path, source: str, labels: Iterable[str], outcomes_of: Callable[[], Mapping[str, Sequence[Outcome]]]
) -> None:
    """Write ``calibration.json``, unless there is one of the same predictions.

    Args:
        path: the file.
        source: digest of all that the predictions depend on.
        labels: names of the foreground classes.
        outcomes_of: gives the out-of-fold predictions by class that are not empty; called only if they are needed.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        if read_json(path).get("source") == source:
            Calibration.read(path)
            return
    except InputError:
        pass  # missing or damaged: it is written again
    outcomes = outcomes_of()
    classes = {label: calibrated_class(outcomes.get(label, ())) for label in labels}
    write_json(path, {"source": source, "checkpoint": "last", "classes": classes})


def _error(expected: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(expected - true).mean()))


def _correlation(expected: NDArray[np.float64], true: NDArray[np.float64]) -> float | None:
    """Pearson's; None where one of the two is constant."""
    if expected.std() == 0 or true.std() == 0:
        return None
    return float(np.corrcoef(expected, true)[0, 1])
