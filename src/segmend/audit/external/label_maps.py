"""Label maps of any program, which become probabilities by the distance to their surfaces.

FOLDER/CASE.nii.gz              as ``segmend predict`` and nnU-Net write them, or any other format that is read
FOLDER/CASE/CLASS.nii.gz        a mask a class, as TotalSegmentator writes them (also in CASE/segmentations)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.audit.external.boundary_model import REACH, BoundaryModel, DistanceSample
from segmend.audit.external.class_names import index_of_value, require_name, to_indices
from segmend.audit.external.form import check_place
from segmend.audit.external.layout import Layout
from segmend.core.case import Case
from segmend.core.masks import IGNORE
from segmend.core.parallel import in_order
from segmend.core.paths import entries, is_folder
from segmend.core.progress import say, track, warn
from segmend.core.regions import possible_classes
from segmend.data.finding import label_of
from segmend.data.folder import DataFolder
from segmend.data.image import ENDINGS, Grid, case_name, is_image_file, read_grid, read_label
from segmend.data.imports.masks import combine, read_mask
from segmend.data.raters import read_drawing

_SAMPLED = 2**24
"""Number of distances that the fit looks at, over all cases together."""


class LabelMaps(ABC):
    """Label maps, whose certainty is fitted to the labels of all cases; see ``boundary_model``.

    Args:
        root: the folder with the files.
        folder: the data folder.
    """

    def __init__(self, root: Path, folder: DataFolder) -> None:
        self.root, self.folder = root, folder
        self.model: BoundaryModel | None = None

    @abstractmethod
    def files(self, case: Case) -> list[Path]:
        """The files of a case."""

    @abstractmethod
    def holds(self, case: Case) -> bool:
        """Whether the files of a case are there."""

    @property
    @abstractmethod
    def declared(self) -> dict[str, object]:
        """What the values of the label maps stand for."""

    @abstractmethod
    def predicted(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """Class indices ``[*spatial]`` of a label map."""

    def check(self, cases: Sequence[Case]) -> None:
        """Check that all label maps lie over the labels."""
        for case in cases:
            assert case.label is not None
            grid = read_grid(case.label)
            for file in self.files(case):
                check_place(file, grid, "label maps")

    def shape(self, case: Case, grid: Grid) -> tuple[int, ...]:
        """That of the label."""
        return grid.shape

    def declaration(self, dimensions: int) -> tuple[Layout | None, str]:
        """As the label."""
        return Layout.own_axes(dimensions), "The label maps lie on the labels by their headers"

    def fit(self, cases: Sequence[Case], workers: int) -> None:
        """Fit the width of the boundaries."""
        grids = [read_grid(case.label) for case in cases if case.label]
        reach = REACH * float(np.median([min(grid.spacing) for grid in grids]))
        most = max(20, min(1000, _SAMPLED // (len(cases) * self.folder.classes**2)))

        def sample(case: Case) -> DistanceSample:
            assert case.label is not None
            grid = read_grid(case.label)
            label, predicted = self._annotated(case, grid), self.predicted(case, grid)
            return DistanceSample.of(label, predicted, self.folder.classes, grid.spacing, reach, most)

        samples = track(in_order(sample, cases, workers), "measuring distances to surfaces", len(cases))
        self.model = BoundaryModel.of(list(samples), reach)
        say(f"{self.root}: label maps become probabilities by a logistic function of width {self.model.width:.2g} mm")
        if self.model.exact:
            warn(
                f"{self.root}: most labels equal these label maps; if they were made from them, they cannot judge them"
            )

    def probabilities(self, case: Case, grid: Grid) -> Iterator[tuple[int, NDArray[Any]]]:
        """The map of each class, once the width was fitted."""
        assert self.model is not None
        return enumerate(self.model.probabilities(self.predicted(case, grid), self.folder.classes, grid.spacing))

    def _annotated(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """The given label, ``IGNORE`` where several classes are possible."""
        assert case.label is not None
        label = read_drawing(case.label, self.folder, grid)
        if case.annotated is None:
            return label
        possible = possible_classes(case.annotated, self.folder.objects, self.folder.classes)
        unclear = [index for index, others in enumerate(possible) if len(others) > 1]
        return np.where(np.isin(label, unclear), np.uint8(IGNORE), label)


class LabelFiles(LabelMaps):
    """A file a case: ``CASE.nii.gz``, or another format that is read."""

    def files(self, case: Case) -> list[Path]:
        """The label map."""
        found = (label_of(case.name, self.root, ending) for ending in (self.folder.file_ending, *ENDINGS))
        return [next((file for file in found if file), self.root / f"{case.name}{self.folder.file_ending}")]

    def holds(self, case: Case) -> bool:
        """Whether it is there."""
        return self.files(case)[0].is_file()

    @property
    def declared(self) -> dict[str, object]:
        """Class index of each value."""
        return {"label_maps": {str(value): index for value, index in sorted(self._index_of.items())}}

    def predicted(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """Class indices of the label map."""
        file = self.files(case)[0]
        return to_indices(file, read_label(file)[0], self._index_of)

    @cached_property
    def _index_of(self) -> Mapping[int, int]:
        return index_of_value(self.root, self.folder)


class MaskFolders(LabelMaps):
    """A folder a case, and in it a mask a class: ``CASE/CLASS.nii.gz``. Where masks overlap, the smaller one wins."""

    def files(self, case: Case) -> list[Path]:
        """The mask of each class but the background."""
        place = self._place(case)
        known = {case_name(file): file for file in entries(place) if is_image_file(file)}
        _, *classes = self.folder.labels
        return [known[require_name(place, label, known)] for label in classes]

    def holds(self, case: Case) -> bool:
        """Whether there is a folder of masks."""
        return is_folder(self.root / case.name)

    @property
    def declared(self) -> dict[str, object]:
        """The names of the masks."""
        return {"label_maps": "masks"}

    def predicted(self, case: Case, grid: Grid) -> NDArray[np.uint8]:
        """Class indices, combined from the masks."""
        masks = ((index, read_mask(file, grid)) for index, file in enumerate(self.files(case), start=1))
        return combine(masks, grid).label

    def _place(self, case: Case) -> Path:
        own = self.root / case.name
        return own / "segmentations" if is_folder(own / "segmentations") else own
