r"""Calibrated probabilities, and the thresholds of confident learning.

One temperature for all cases (Guo et al., On Calibration of Modern Neural Networks, ICML 2017): p_c^{1/T} /
\sum_k p_k^{1/T}. The labels that T is fitted to may be wrong here, so it maximises the upper quartile over the cases of
their log-likelihoods, which erroneous labels change little as long as a quarter of the labels is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segmend.audit.evidence import Evidence
from segmend.core.masks import IGNORE, bounding_box
from segmend.functional.confident_learning import SelfConfidence

TEMPERATURES = np.geomspace(0.25, 8.0, 41)
"""Temperatures that the fit tries."""

TRUSTED = 0.75
"""Quantile of the log-likelihoods of the cases that the temperature maximises."""

BAND = 10
"""Distance from the objects of a label, in voxels along any axis, within which background is sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some voxels of a case.

    Attributes:
        probabilities: ``[C, n]`` float32, above 0.
        label: ``[n]`` class indices.
    """

    probabilities: NDArray[np.float32]
    label: NDArray[np.uint8]

    @classmethod
    def of(cls, label: NDArray[np.uint8], evidence: Evidence, most: int) -> Self:
        """Take evenly spaced voxels of each class, background only near the objects.

        Background far from all objects is not informative.

        Args:
            label: ``[*spatial]`` class indices or ``IGNORE``.
            evidence: on the same grid.
            most: voxels of each class.
        """
        chosen = calibration_voxels(label, most)
        rows = [evidence.at(index, chosen) for index in range(evidence.classes)]
        return cls(np.stack(rows), label.reshape(-1)[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Calibration of the evidence over all cases.

    Attributes:
        temperature: temperature that calibrates the probabilities.
        thresholds: ``[C]`` probability above which a voxel confidently belongs to a class; infinite for a
            class that no sample has.
    """

    temperature: float
    thresholds: NDArray[np.float64]

    @classmethod
    def of(cls, samples: Sequence[Sample], classes: int) -> Self:
        """Fit the temperature, and measure the thresholds with it.

        Args:
            samples: samples of each case; those without a voxel are left out.
            classes: number of classes, background included.
        """
        samples = [sample for sample in samples if sample.label.size]
        curves = [log_likelihoods(sample) for sample in samples]
        temperature = float(TEMPERATURES[np.quantile(curves, TRUSTED, axis=0).argmax()]) if curves else 1.0
        confidence = SelfConfidence.empty(classes)
        for sample in samples:
            tempered = sample.probabilities ** (1 / temperature)
            confidence = confidence.add(
                torch.from_numpy(tempered / tempered.sum(0))[None], torch.from_numpy(sample.label)[None]
            )
        return cls(temperature, symmetrised_thresholds(confidence.thresholds.numpy()))


def symmetrised_thresholds(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetrise the thresholds of confident learning, so that false positives and false negatives count equally.

    Background has a higher mean self-confidence, so over-segmentation would be detected later than
    under-segmentation. Each foreground class gets the mean of its threshold and background's, and background the
    mean of these.

    Args:
        thresholds: ``[C]`` mean self-confidence, background first; infinite for a class that is never given.
    """
    middle = (thresholds[1:] + thresholds[0]) / 2
    known = middle[np.isfinite(middle)]
    background = known.mean() if known.size else thresholds[0]
    return np.concatenate([[background], middle])


def log_likelihoods(sample: Sample) -> NDArray[np.float64]:
    """Mean log-likelihood of a label at each of ``TEMPERATURES``; all classes that occur have the same weight."""
    logarithms = np.log(sample.probabilities.astype(np.float64))
    weights = class_weights(sample.label)
    own = np.take_along_axis(logarithms, sample.label[None].astype(np.intp), 0)[0]
    means: list[Any] = [
        np.sum(weights * (own / temperature - np.log(np.exp(logarithms / temperature).sum(0))))
        for temperature in TEMPERATURES
    ]
    return np.array(means, np.float64)


def class_weights(label: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Weight ``[n]`` of each voxel by its class: all classes that occur weigh the same, and all voxels 1 together."""
    present, of_class = np.unique(label, return_inverse=True)
    weights: NDArray[np.float64] = 1 / (np.bincount(of_class)[of_class] * len(present))
    return weights


def calibration_voxels(label: NDArray[np.uint8], most: int) -> NDArray[np.int64]:
    """Flat indices of evenly spaced voxels of each class, background only near the objects.

    Args:
        label: ``[*spatial]`` class indices or ``IGNORE``.
        most: voxels of each class.
    """
    objects = (label > 0) & (label != IGNORE)
    if not objects.any():
        return np.empty(0, np.int64)
    box = bounding_box(objects, margin=BAND)
    near = np.zeros(label.shape, dtype=bool)
    near[box] = ndimage.maximum_filter(objects[box], size=2 * BAND + 1)
    chosen = [np.flatnonzero((label == 0) & near)]
    chosen += [np.flatnonzero(label == index) for index in np.unique(label[objects])]
    return np.concatenate([voxels[:: max(1, -(-len(voxels) // most))] for voxels in chosen])
