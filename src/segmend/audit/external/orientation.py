"""Estimates the orientation of arrays without a header from the labels of all cases, and how certain it is.

An array that has the shape of a label may still be mirrored, transposed or in the order of another reader. Only the
labels can show it: most of them are correct, and most organs look different from their mirror images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from segmend.audit.external.layout import Layout
from segmend.core.masks import IGNORE
from segmend.data.image import Grid

_MIN_DICE_SPREAD = 0.1
"""Smallest standard deviation of Dice differences between cases: a few equal ones must not seem certain."""
_STANDARD_ERRORS = 2.0
"""Number of standard errors by which a layout must fit better than another to be certain."""
_MIN_CASES = 2
"""Number of cases that must distinguish two layouts to be certain."""
_SUSPICIOUS_DICE_GAIN = 0.2
"""Dice by which another layout must fit a case, or another order of classes all cases, better to be suspected."""
_MAX_VOXELS = 20_000
"""Voxels of a label that are looked up; evenly spread over larger ones."""


@dataclass(frozen=True)
class Placement:
    """How the arrays of all cases are taken to lie on their labels.

    Attributes:
        layout: of all arrays.
        uncertain: cases whose arrays may lie otherwise, for which nothing must be proposed.
        remarks: what was assumed and found, in words.
    """

    layout: Layout
    uncertain: frozenset[str]
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CaseFit:
    """How a prediction fits a label under every layout.

    Attributes:
        case: name of the case.
        ways: what each layout does to the axes; the same for layouts that do not differ here.
        dice: mean Dice of each layout, all classes together; NaN where there is nothing to find.
        overlap: ``[layouts, C, C]`` voxels by predicted and given class.
        sizes: ``[2, C]`` voxels of each predicted, and of each given class.
    """

    case: str
    ways: list[bytes]
    dice: list[float]
    overlap: NDArray[np.float64]
    sizes: NDArray[np.float64]


class OrientationSearch:
    """Compares predictions with labels under every layout.

    Args:
        names: of the classes, background first.
        layouts: to choose from, the most usual first.
    """

    def __init__(self, names: Sequence[str], layouts: Sequence[Layout]) -> None:
        self.names, self.layouts = list(names), list(layouts)
        self._cases: list[str] = []
        self._dice: list[list[float]] = []
        self._ways: list[list[bytes]] = []
        self._overlap = np.zeros((len(layouts), len(names), len(names)))
        self._sizes = np.zeros((2, len(names)))

    def add(self, fit: CaseFit) -> None:
        """Adds a case."""
        self._cases.append(fit.case)
        self._ways.append(fit.ways)
        self._dice.append(fit.dice)
        self._overlap += fit.overlap
        self._sizes += fit.sizes

    def compare(self, case: str, predicted: NDArray[np.uint8], label: NDArray[np.uint8], grid: Grid) -> CaseFit:
        """Compares the prediction of a case with its label under every layout.

        Args:
            case: its name.
            predicted: most probable class along the axes of the array.
            label: ``[*spatial]`` class indices or ``IGNORE``.
            grid: of the label.
        """
        objects = np.flatnonzero((label > 0) & (label != IGNORE))
        weight = max(1.0, len(objects) / _MAX_VOXELS)
        picked = objects[np.linspace(0, len(objects) - 1, min(len(objects), _MAX_VOXELS)).astype(np.int64)]
        places, given = np.unravel_index(picked, label.shape), label.reshape(-1)[picked]
        ways = [layout.onto(grid) for layout in self.layouts]
        total = len(objects) + int(np.count_nonzero(predicted))
        overlaps: dict[bytes, NDArray[np.float64]] = {}
        for way in ways:
            key = way.tobytes()
            if key not in overlaps:
                found = predicted[
                    tuple(places[axis] if sign > 0 else label.shape[axis] - 1 - places[axis] for axis, sign in way)
                ]
                overlaps[key] = weight * self._count(found, given)
        keys = [way.tobytes() for way in ways]
        return CaseFit(
            case=case,
            ways=keys,
            dice=[2 * float(np.trace(overlaps[key])) / total if total else math.nan for key in keys],
            overlap=np.stack([overlaps[key] for key in keys]),
            sizes=np.stack(
                [
                    np.bincount(predicted.reshape(-1), minlength=len(self.names))[: len(self.names)],
                    weight * np.bincount(given, minlength=len(self.names)),
                ]
            ),
        )

    def placement(self, declared: Layout | None, because: str) -> Placement:
        """Return how to read the arrays, with remarks for the user.

        Args:
            declared: layout that a file or header declares; None if nothing does.
            because: source of the declaration, or that there is none; the beginning of a remark.
        """
        means = self._means()
        best = int(np.argmax(means))
        if declared is None:
            chosen, rivals, remarks = self._choose_best(best, because)
        else:
            chosen, rivals, remarks = self._check_declared(best, self.layouts.index(declared), because)
        uncertain = {
            case
            for case, keys in zip(self._cases, self._ways, strict=True)
            if any(keys[rival] != keys[chosen] for rival in rivals)
        }
        misaligned = self._misaligned_cases(chosen, uncertain)
        if misaligned:
            remarks.append(
                f"In {_list_cases(misaligned)}, the probabilities fit the label far better mirrored or with other "
                "axes. No change is proposed there: correct the label or the probabilities first."
            )
        wrong_classes = self._wrong_classes(chosen)
        if wrong_classes:
            remarks.append(wrong_classes)
            uncertain |= set(self._cases)
        return Placement(self.layouts[chosen], frozenset(uncertain | set(misaligned)), tuple(remarks))

    def _choose_best(self, best: int, because: str) -> tuple[int, list[int], list[str]]:
        """The layout that fits best, or the most usual of those that fit as well; those not excluded; a remark."""
        means = self._means()
        rivals = [other for other in self._others(best) if not self._clearly_better(best, other)]
        if not rivals:
            following = max(self._others(best), key=means.__getitem__, default=None)
            return best, [], [f"{because}: they are read as {self._describe(best)}{self._runner_up(following)}."]
        chosen = min(best, *rivals)
        others = [other for other in (best, *rivals) if other != chosen]
        rival = max(others, key=means.__getitem__)
        return (
            chosen,
            others,
            [
                f"{because}, and the labels do not show it: {self._describe(chosen)} is assumed, but "
                f"{self._describe(rival)} fits as well. No change is proposed where the two differ: "
                "put the plans.json of the model next to the arrays, or give maps as files with a header."
            ],
        )

    def _check_declared(self, best: int, declared: int, because: str) -> tuple[int, list[int], list[str]]:
        means = self._means()
        better = [other for other in self._others(declared) if self._clearly_better(other, declared)]
        if not better:
            following = max(self._others(declared), key=means.__getitem__, default=None)
            return (
                declared,
                [],
                [f"{because}: they are read as {self._describe(declared)}{self._runner_up(following)}."],
            )
        rival = max(better, key=means.__getitem__)
        return (
            declared,
            better,
            [
                f"{because}: they are read as {self._describe(declared)}, but they fit the labels far better as "
                f"{self._describe(rival)}. No change is proposed where the two differ: find out which of them is right."
            ],
        )

    def _means(self) -> NDArray[np.float64]:
        dice = np.array(self._dice)
        known = dice[~np.isnan(dice).any(1)]
        means: NDArray[np.float64] = known.mean(0) if len(known) else np.zeros(len(self.layouts))
        return means

    def _others(self, one: int) -> list[int]:
        """Layouts that differ from one in some case, each kind of them once."""
        seen = {tuple(keys[one] for keys in self._ways)}
        others = []
        for other in range(len(self.layouts)):
            kind = tuple(keys[other] for keys in self._ways)
            if kind not in seen:
                seen.add(kind)
                others.append(other)
        return others

    def _clearly_better(self, one: int, other: int) -> bool:
        """Whether a layout fits better, paired over the cases in which the two differ."""
        gains = np.array(
            [
                dice[one] - dice[other]
                for dice, keys in zip(self._dice, self._ways, strict=True)
                if keys[one] != keys[other] and not math.isnan(dice[one])
            ]
        )
        if len(gains) < _MIN_CASES:
            return False
        error = max(float(gains.std(ddof=1)), _MIN_DICE_SPREAD) / math.sqrt(len(gains))
        return float(gains.mean()) > _STANDARD_ERRORS * error

    def _misaligned_cases(self, chosen: int, uncertain: set[str]) -> list[str]:
        return [
            case
            for case, dice in zip(self._cases, self._dice, strict=True)
            if case not in uncertain and max(dice) > dice[chosen] + _SUSPICIOUS_DICE_GAIN
        ]

    def _wrong_classes(self, chosen: int) -> str:
        """A remark if other classes of the arrays fit those of the labels far better; '' otherwise."""
        sizes = self._sizes[0][:, None] + self._sizes[1][None, 1:]
        dice = 2 * self._overlap[chosen][:, 1:] / np.maximum(sizes, 1)
        found, given = linear_sum_assignment(dice, maximize=True)
        gain = dice[found, given] - np.array([dice[index + 1, index] for index in given])
        if gain.mean() <= _SUSPICIOUS_DICE_GAIN:
            return ""
        pairs = [
            f"number {number} seems to be '{self.names[index + 1]}'"
            for number, index in zip(found, given, strict=True)
            if number != index + 1
        ]
        return (
            f"The classes of the arrays seem to be in another order than {', '.join(self.names)}: "
            f"{', '.join(pairs)} (counted from 0). No change is proposed: export them in the order of dataset.json."
        )

    def _count(self, found: NDArray[np.uint8], given: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Voxels ``[predicted class, given class]``."""
        count = len(self.names)
        pairs = np.bincount(found.astype(np.int64) * count + given, minlength=count**2)
        return pairs.reshape(count, count).astype(np.float64)

    def _describe(self, layout: int) -> str:
        dice = self._means()[layout]
        return f"{self.layouts[layout]} (mean Dice to the labels {dice:.2f} over {len(self._cases)} cases)"

    def _runner_up(self, layout: int | None) -> str:
        return "" if layout is None else f"; the next best is {self.layouts[layout]} ({self._means()[layout]:.2f})"


def _list_cases(names: Sequence[str]) -> str:
    return f"case '{names[0]}'" if len(names) == 1 else f"{len(names)} cases, '{names[0]}' the first of them"
