r"""Probabilities that mean what they say, and what confident learning takes for confident.

One temperature for all cases (Guo et al., On Calibration of Modern Neural Networks, ICML 2017): p_c^{1/T} /
\sum_k p_k^{1/T}. The labels that T is fitted to may be wrong here, so it maximises the median over the cases of their
log-likelihoods, which a minority of bad labels cannot move far.
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
"""Those that are tried."""

BAND = 10
"""How far from the objects of a label, in voxels along any axis, background says something of its borders."""


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
        """Takes evenly spaced voxels of each class, background only near the objects.

        Far from all objects everything is background, and nothing is learned from it.

        Args:
            label: ``[*spatial]`` class indices or ``IGNORE``.
            evidence: on the same grid.
            most: voxels of each class.
        """
        chosen = _telling_voxels(label, most)
        rows = [evidence.probability(index).reshape(-1)[chosen] for index in range(evidence.classes)]
        return cls(np.stack(rows), label.reshape(-1)[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What the cases together say.

    Attributes:
        temperature: that makes probabilities honest.
        thresholds: ``[C]`` probability from which on a voxel confidently belongs to a class; infinite for a
            class that no sample has.
    """

    temperature: float
    thresholds: NDArray[np.float64]

    @classmethod
    def of(cls, samples: Sequence[Sample], classes: int) -> Self:
        """Fits the temperature, and measures the thresholds with it.

        Args:
            samples: of each case; those without a voxel are left out.
            classes: number of classes, background included.
        """
        samples = [sample for sample in samples if sample.label.size]
        curves = [log_likelihoods(sample) for sample in samples]
        temperature = float(TEMPERATURES[np.median(curves, axis=0).argmax()]) if curves else 1.0
        confidence = SelfConfidence.empty(classes)
        for sample in samples:
            tempered = sample.probabilities ** (1 / temperature)
            confidence = confidence.add(
                torch.from_numpy(tempered / tempered.sum(0))[None], torch.from_numpy(sample.label)[None]
            )
        return cls(temperature, evened(confidence.thresholds.numpy()))


def evened(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds of confident learning that ask for as much proof to take from an object as to add to it.

    Background is the easier class: its mean self-confidence is higher, so what was drawn too much would be
    found later than what is missing. Each foreground class gets the mean of its threshold and background's, and
    background the mean of these.

    Args:
        thresholds: ``[C]`` mean self-confidence, background first; infinite for a class that is never given.
    """
    middle = (thresholds[1:] + thresholds[0]) / 2
    known = middle[np.isfinite(middle)]
    background = known.mean() if known.size else thresholds[0]
    return np.concatenate([[background], middle])


def log_likelihoods(sample: Sample) -> NDArray[np.float64]:
    """Mean log-likelihood of a label at each of ``TEMPERATURES``; every class that occurs has the same weight."""
    logarithms = np.log(sample.probabilities.astype(np.float64))
    present, of_class = np.unique(sample.label, return_inverse=True)
    weights = 1 / (np.bincount(of_class)[of_class] * len(present))
    own = np.take_along_axis(logarithms, sample.label[None].astype(np.intp), 0)[0]
    means: list[Any] = [
        np.sum(weights * (own / temperature - np.log(np.exp(logarithms / temperature).sum(0))))
        for temperature in TEMPERATURES
    ]
    return np.array(means, np.float64)


def _telling_voxels(label: NDArray[np.uint8], most: int) -> NDArray[np.int64]:
    """Their flat indices."""
    objects = (label > 0) & (label != IGNORE)
    if not objects.any():
        return np.empty(0, np.int64)
    box = bounding_box(objects, margin=BAND)
    near = np.zeros(label.shape, dtype=bool)
    near[box] = ndimage.maximum_filter(objects[box], size=2 * BAND + 1)
    chosen = [np.flatnonzero((label == 0) & near)]
    chosen += [np.flatnonzero(label == index) for index in np.unique(label[objects])]
    return np.concatenate([voxels[:: max(1, -(-len(voxels) // most))] for voxels in chosen])
