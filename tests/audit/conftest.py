"""Phantoms with hand-made evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segmend.audit.calibration import Calibration
from segmend.audit.evidence import Evidence, write_evidence
from segmend.audit.examination import Examination

SURE = 0.97


@pytest.fixture
def make_evidence(tmp_path: Path) -> Callable[..., Evidence]:
    """Evidence for a true label: ``sure`` for its class, the rest shared by the others.

    Args:
        truth: ``[*spatial]`` class indices.
        classes: how many there are.
        name: of the file.
        sure: probability of the true class; a number, or one for each voxel.
    """

    def make(truth: NDArray, classes: int = 2, name: str = "case", sure: float | NDArray = SURE) -> Evidence:
        path = tmp_path / f"{name}.npz"
        other = (1 - np.asarray(sure)) / (classes - 1)
        write_evidence(path, (np.where(truth == index, sure, other) for index in range(classes)))
        return Evidence(path)

    return make


@pytest.fixture
def examine(make_evidence: Callable[..., Evidence]) -> Callable[..., Examination]:
    """A label beside evidence for a true one, uncalibrated."""

    def look(label: NDArray, truth: NDArray, classes: int = 2, **evidence: object) -> Examination:
        calibration = Calibration(1.0, np.full(classes, 0.8))
        return Examination.of(label.astype(np.uint8), make_evidence(truth, classes, **evidence), calibration)

    return look


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    """A ball, or in 2D a disc."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    inside: NDArray[np.bool_] = ((index - np.array(centre)) ** 2).sum(-1) <= radius**2
    return inside


@pytest.fixture(name="ball")
def ball_fixture() -> Callable[..., NDArray[np.bool_]]:
    return ball
