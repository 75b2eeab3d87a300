"""Phantoms with hand-made evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segmend.audit.auditor import Auditor
from segmend.audit.calibration import Calibration
from segmend.audit.evidence import AuditedCase, Evidence, write_evidence
from segmend.audit.examination import Examination
from segmend.audit.folder import AuditFolder
from segmend.data.folder import DataFolder
from segmend.data.image import read_label
from segmend.data.raters import find_raters

SURE = 0.97
CASES = tuple(f"case_{number}" for number in range(6))


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
    """A label with evidence for a true one, uncalibrated."""

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


@pytest.fixture
def make_data(make_folder, write_scan, tmp_path):
    """A data folder, evidence for its true labels, and means to corrupt what was given."""

    class CorruptibleData:
        def __init__(self, shape=(30, 28, 24), **options):
            self.root = make_folder(cases=CASES, shape=shape, **options)
            self.place = AuditFolder(tmp_path / "audit")
            self.place.root.mkdir()
            self.place.settings.write_text('{"evidence": {"folds": 3}}')
            folder = DataFolder.open(self.root)
            self.ending = folder.file_ending
            for number, case in enumerate(folder.cases):
                truth, _ = self.read(case.label)
                distance = sum(np.abs(np.gradient((truth == i).astype(float)))[0] for i in range(folder.classes))
                sure = np.where(distance > 0, 0.8, 0.96) + 0.01 * (number % 3)
                other = (1 - sure) / (folder.classes - 1)
                write_evidence(
                    self.place.evidence(case.name),
                    (np.where(truth == i, sure, other) for i in range(folder.classes)),
                )

        def read(self, path):
            values, grid = read_label(path)
            return DataFolder.open(self.root).to_indices(values), grid

        def corrupt(self, case, change, folder="labelsTr"):
            path = self.root / folder / f"{case}{self.ending}"
            values, grid = read_label(path)
            write_scan(path, change(values).astype(values.dtype), grid.affine)
            return path

        def audit(self, **seen):
            folder = DataFolder.open(self.root)
            cases = [
                AuditedCase(case, self.evidence(case), in_training_set=case.name in seen)
                for case in folder.cases
                if case.label
            ]
            return Auditor(folder, cases, find_raters(folder), self.place).run()

        def evidence(self, case):
            return Evidence(self.place.evidence(case.name))

    return CorruptibleData
