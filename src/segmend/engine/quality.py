r"""How certain a prediction is, voxel by voxel, and the Dice to expect of it, without a reference.

The uncertainty of a voxel is the entropy of its class probabilities relative to that of equally probable classes,
-\sum_c p_c \log p_c / \log C, with probabilities averaged over test-time views (Wang et al., Neurocomputing 2019). The
expected Dice of a predicted mask follows from the same probabilities (``functional.expected_dice``). Neither knows more
than the network: a scan that is unlike the training data may be predicted wrongly with certainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from segmend.core.regions import mask_of, objects_of
from segmend.engine.quality_calibration import Calibration
from segmend.engine.task import Task
from segmend.functional.expected_dice import expected_dice


@dataclass(frozen=True, slots=True)
class Quality:
    """What is expected of the predicted mask of a class; a row of quality.csv.

    Attributes:
        case: name of the case.
        label: name of the class or region.
        expected_dice: 0..1; NaN for an empty mask, whose Dice is 0 or undefined.
        volume: of the mask, in mm^3 (2D: mm^2).
        expected_volume: sum of the probabilities, in the same unit.
        mean_entropy: mean normalised entropy within the mask, 0..1; NaN for an empty one.
        calibration: whether ``expected_dice`` and ``expected_volume`` are calibrated, and on what, or why not.
    """

    case: str
    label: str
    expected_dice: float
    volume: float
    expected_volume: float
    mean_entropy: float
    calibration: str


class QualitySums:
    """Adds up the probabilities of a scan class by class, so that one map at a time need be in memory.

    Args:
        classes: ``[*spatial]`` predicted class indices.
        names: of the classes, background first, in the order in which their maps will be added.
        spacing: mm from voxel to voxel along each axis.
        calibration: applied before probabilities are summed up; the entropy is that of the probabilities as given.
        regions: region name to the indices of its classes: rows are then of regions, which are not calibrated.
    """

    def __init__(
        self,
        classes: NDArray[np.uint8],
        names: Sequence[str],
        spacing: Sequence[float],
        calibration: Calibration | None = None,
        regions: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self._classes, self._names = classes, tuple(names)
        self._objects = objects_of(names, regions or {})
        self._calibration = calibration or Calibration()
        self._unit = math.prod(spacing)
        self._entropy = np.zeros(classes.shape, np.float32)
        self._added = 0
        self._sums = dict.fromkeys(self._objects, (0.0, 0.0))

    def add(self, probability: NDArray[np.float32]) -> None:
        """Add the map ``[*spatial]`` of the next class, 0..1."""
        self._entropy += entr(probability)
        probability = self._calibration.apply(self._names[self._added], probability)
        for name, parts in self._objects.items():
            if self._added in parts:
                mask = mask_of(self._classes, parts)
                within, total = (float(probability.sum(dtype=np.float64, where=where)) for where in (mask, True))
                self._sums[name] = self._sums[name][0] + within, self._sums[name][1] + total
        self._added += 1

    def entropy(self) -> NDArray[np.float32]:
        """The normalised entropy ``[*spatial]`` of all maps, 0..1."""
        entropy: NDArray[np.float32] = (self._entropy / np.float32(math.log(len(self._names)))).clip(0, 1)
        return entropy

    def rows(self, case: str) -> list[Quality]:
        """What is expected of each foreground class or region.

        Args:
            case: name of the case.
        """
        entropy, found = self.entropy(), []
        for name, (within, total) in self._sums.items():
            mask = mask_of(self._classes, self._objects[name])
            voxels = int(np.count_nonzero(mask))
            row: dict[str, Any] = {"expected_dice": math.nan, "mean_entropy": math.nan}
            if voxels:
                row["expected_dice"] = expected_dice(voxels, within, total)
                row["mean_entropy"] = float(entropy.mean(dtype=np.float64, where=mask))
            volume, expected = voxels * self._unit, total * self._unit
            note = self._calibration.note(name)
            found.append(Quality(case, name, volume=volume, expected_volume=expected, calibration=note, **row))
        return found


def view_axes(task: Task) -> tuple[int, ...]:
    """Axes of a window along which a scan is flipped for its test-time views.

    Those that the plan of the run mirrors. A run without a plan does not say; then all of them with a single foreground
    class, and none with several, since flips may exchange them.
    """
    if task.mirroring is not None:
        return task.mirroring
    return tuple(range(len(task.patch))) if len(task.labels) == 2 else ()
