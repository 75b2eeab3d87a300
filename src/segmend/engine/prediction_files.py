"""The files that the prediction of a scan is written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.data.image import Grid, case_name, write_label, write_map
from segmend.data.maps import MapNames
from segmend.engine.ensemble import Ensemble
from segmend.engine.quality import Quality, QualitySums
from segmend.engine.quality_calibration import Calibration
from segmend.engine.segmenter import Segmenter


@dataclass(frozen=True)
class PredictionFiles:
    """Predicts scans and writes labels and maps over them: same grid, same header.

    Attributes:
        folder: for labels CASE.ENDING, and below it 'probabilities' and 'uncertainty'.
        segmenter: predicts labels and probabilities.
        maps: file names of the probability maps; None writes none.
        views: gives the mean probabilities over test-time views, for the uncertainty; None writes none.
        calibration: of the expected Dice.
    """

    folder: Path
    segmenter: Segmenter | Ensemble
    maps: MapNames | None = None
    views: Segmenter | Ensemble | None = None
    calibration: Calibration | None = None

    def write(
        self, name: str, image: NDArray[np.float32], grid: Grid, *, like: Path
    ) -> tuple[list[Path], list[Quality]]:
        """Predict a scan and write its files.

        Args:
            name: of the case.
            image: the scan, ``[channels, *spatial]``.
            grid: of the scan.
            like: the first file of the scan.

        Returns:
            The files, and what is expected of each class, if there are views.

        Raises:
            InputError: a file cannot be written.
        """
        labels = self.segmenter.task.labels
        classes = self.segmenter.classes(image, grid)
        written = [self.folder / f"{name}{like.name[len(case_name(like)) :]}"]
        write_label(written[0], np.array(list(labels.values()))[classes], like=like)
        if self.maps:
            for label, of_class in zip(labels, self.segmenter.probabilities(image, grid), strict=True):
                written.append(self.folder / "probabilities" / self.maps.name(name, label))
                write_map(written[-1], of_class, like=like)
        if self.views is None:
            return written, []
        sums = QualitySums(classes, list(labels), grid.spacing, self.calibration, self.segmenter.task.regions)
        for of_class in self.views.probabilities(image, grid):
            sums.add(of_class)
        written.append(self.folder / "uncertainty" / f"{name}.nii.gz")
        write_map(written[-1], sums.entropy(), like=like)
        return written, sums.rows(name)
