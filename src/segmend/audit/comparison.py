"""Comparison of the labels of all annotators with the same evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.annotators import Bias, Drawing, Rating, summarise
from segmend.audit.examination import Examination
from segmend.audit.measurement import Measurement, measure_label
from segmend.core.case import Case
from segmend.data.finding import MAIN
from segmend.data.folder import DataFolder
from segmend.data.image import Grid
from segmend.data.raters import drawings_of, read_drawing
from segmend.fusion import staple


class Comparison:
    """Collects measurements of each annotator's labels, case by case.

    Args:
        folder: the data folder.
        raters: folders of further labels of the same cases, by rater.
    """

    def __init__(self, folder: DataFolder, raters: Mapping[str, Path]) -> None:
        self.folder, self.raters = folder, raters
        self._names = list(folder.labels)
        self._drawings: list[Drawing] = []
        self._ratings: list[Rating] = []

    def add(self, case: Case, examination: Examination, grid: Grid, measured: Mapping[int, Measurement]) -> None:
        """Measure the labels that other annotators drew of a case.

        Args:
            case: the case.
            examination: of the label that is audited.
            grid: of it.
            measured: what was measured of it.
        """
        files = drawings_of(case, self.folder, self.raters)
        others = {rater: file for rater, file in files.items() if file != case.label}
        own = case.annotator or (MAIN if others else "")
        if own:
            self._add_drawings(own, measured)
        drawings = {own: examination.label}
        for rater, file in others.items():
            drawings[rater] = read_drawing(file, self.folder, grid)
            self._add_drawings(rater, measure_label(examination.of_other(drawings[rater]), grid.spacing))
        if others:
            self._rate(drawings)

    def biases(self) -> list[Bias]:
        """A row for each annotator and class."""
        return summarise(self._drawings, self._ratings)

    def _add_drawings(self, annotator: str, measured: Mapping[int, Measurement]) -> None:
        self._drawings += [
            Drawing(annotator, self._names[index], of_class.volume_ratio, of_class.offset, of_class.dice)
            for index, of_class in measured.items()
            if of_class.offset
        ]

    def _rate(self, drawings: Mapping[str, NDArray[np.uint8]]) -> None:
        for index, name in enumerate(self._names[1:], start=1):
            masks = [drawing == index for drawing in drawings.values()]
            if any(mask.any() for mask in masks):
                estimate = staple(masks)
                found = zip(drawings, estimate.sensitivity, estimate.specificity, strict=True)
                self._ratings += [
                    Rating(rater, name, sensitivity, specificity) for rater, sensitivity, specificity in found
                ]
