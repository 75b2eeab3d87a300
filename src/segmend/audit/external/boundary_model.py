r"""Probabilities from a label map: how certain a prediction is that says nothing of its certainty.

A segmentation is least certain at its boundaries. Let d_c be the signed distance in mm of a voxel to the surface of
class c, negative inside. Its probability is a logistic function of it, over several classes a softmax,

    p_c = \frac{\exp(-d_c / 2w)}{\sum_k \exp(-d_k / 2w)},

which for an object on background (d_0 = -d_1) is the logistic function of -d_1 / w: 0.5 on the surface. The width w
is the usual distance of the surfaces of this program from true ones. It is fitted to the labels of all cases, as the
temperature of probabilities is (``audit.calibration``): it maximises the upper quartile over the cases of the
log-likelihood of the labels near the objects, each class weighing the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segmend.audit.calibration import TRUSTED, calibration_voxels, class_weights
from segmend.core.masks import bounding_box
from segmend.functional.morphology import signed_distance

REACH = 20
"""Distances beyond this many voxels, along the axis of the finest spacing, count as that."""

_WIDTHS = np.geomspace(0.1, 5.0, 41)
"""Widths that the fit tries, in the same voxels."""
_LARGEST = 40.0
"""Largest exponent: far beyond where a probability is 1, and far below the largest of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class DistanceSample:
    """Some voxels of a case.

    Attributes:
        distances: ``[C, n]`` signed distances in mm to the surfaces of the predicted classes, negative inside, within
            +-``reach``.
        label: ``[n]`` class indices of the given label.
    """

    distances: NDArray[np.float32]
    label: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        label: NDArray[np.uint8],
        predicted: NDArray[np.uint8],
        classes: int,
        spacing: Sequence[float],
        reach: float,
        most: int,
    ) -> Self:
        """Take evenly spaced voxels of each class of the given label, background only near the objects.

        Args:
            label: ``[*spatial]`` class indices or ``IGNORE``, as it was given.
            predicted: ``[*spatial]`` class indices, as the other program says.
            classes: number of classes, background included.
            spacing: mm from voxel to voxel along each axis.
            reach: largest distance that counts, in mm.
            most: voxels of each class.
        """
        chosen = calibration_voxels(label, most)
        rows = np.full((classes, len(chosen)), reach, np.float32)
        rows[0] = -reach
        places = np.unravel_index(chosen, label.shape)
        for index, box, distance in class_distances(predicted, classes, spacing, reach):
            inside = np.logical_and.reduce(
                [(place >= side.start) & (place < side.stop) for place, side in zip(places, box, strict=True)]
            )
            at = tuple(place[inside] - side.start for place, side in zip(places, box, strict=True))
            rows[index, inside] = distance[at]
        return cls(rows, label.reshape(-1)[chosen])


@dataclass(frozen=True, slots=True)
class BoundaryModel:
    """Certainty of a label map by the distance to its surfaces.

    Attributes:
        width: w of the module's equation, in mm.
        reach: largest distance that counts, in mm.
    """

    width: float
    reach: float

    @classmethod
    def of(cls, samples: Sequence[DistanceSample], reach: float) -> Self:
        """Fit the width to the labels of all cases.

        Args:
            samples: of each case; those without a voxel are left out.
            reach: largest distance that counts, in mm; that of the samples.
        """
        widths = _WIDTHS * (reach / REACH)
        curves = [log_likelihoods(sample, widths) for sample in samples if sample.label.size]
        width = widths[np.quantile(curves, TRUSTED, axis=0).argmax()] if curves else reach / REACH
        return cls(float(width), reach)

    @property
    def exact(self) -> bool:
        """Whether most labels agree with the label maps in nearly every voxel: the width is the smallest."""
        return self.width <= 1.01 * float(_WIDTHS[0]) * self.reach / REACH

    def probabilities(
        self, predicted: NDArray[np.uint8], classes: int, spacing: Sequence[float]
    ) -> Iterator[NDArray[np.float32]]:
        """The map ``[*spatial]`` of each class in turn; over the classes they sum to 1.

        Args:
            predicted: ``[*spatial]`` class indices.
            classes: number of classes, background included.
            spacing: mm from voxel to voxel along each axis.
        """
        far, of_background = (self._weight(np.float32(distance)) for distance in (self.reach, -self.reach))
        total = np.full(predicted.shape, of_background, np.float32)
        # Distances are computed twice, so that one class is in memory at a time.
        for index, box, distance in class_distances(predicted, classes, spacing, self.reach):
            if index:
                total[box] += self._weight(distance) - far
            else:
                total[box] = self._weight(distance)
        total += far * (classes - 1)
        found = class_distances(predicted, classes, spacing, self.reach)
        of_class = next(found, None)
        for index in range(classes):
            weight = np.full(predicted.shape, far if index else of_background, np.float32)
            if of_class and of_class[0] == index:
                weight[of_class[1]] = self._weight(of_class[2])
                of_class = next(found, None)
            weight /= total
            yield weight

    def _weight(self, distance: NDArray[np.float32] | np.float32) -> NDArray[np.float32]:
        weight: NDArray[np.float32] = np.exp((distance * np.float32(-0.5 / self.width)).clip(-_LARGEST, _LARGEST))
        return weight


def class_distances(
    predicted: NDArray[np.uint8], classes: int, spacing: Sequence[float], reach: float
) -> Iterator[tuple[int, tuple[slice, ...], NDArray[np.float32]]]:
    """Signed distances in mm of the classes that a label map has, within +-``reach``.

    Args:
        predicted: ``[*spatial]`` class indices.
        classes: number of classes, background included.
        spacing: mm from voxel to voxel along each axis.
        reach: largest distance that counts, in mm.

    Yields:
        Class, a box and the distances in it; outside of it they are the largest ones, of the background the smallest.
    """
    margin = math.ceil(reach / min(spacing))
    for index in range(classes):
        mask = predicted == index
        around = ~mask if index == 0 else mask
        if around.any():
            box = bounding_box(around, margin)
            yield index, box, signed_distance(mask[box], spacing).clip(-reach, reach)


def log_likelihoods(sample: DistanceSample, widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean log-likelihood of a label at each of some widths in mm; all classes that occur have the same weight."""
    weights, own = class_weights(sample.label), sample.label[None].astype(np.intp)
    # Relative to the class that lies deepest, so that no exponent is large.
    relative = (sample.distances - sample.distances.min(0)).astype(np.float64)
    of_label = np.take_along_axis(relative, own, 0)[0]
    means = [
        float(np.sum(weights * (-0.5 / width * of_label - np.log(np.exp(-0.5 / width * relative).sum(0)))))
        for width in widths
    ]
    return np.array(means)
