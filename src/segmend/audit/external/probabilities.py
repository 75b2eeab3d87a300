"""Evidence for ``segmend audit`` from probabilities of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.audit.evidence import write_evidence
from segmend.audit.external.layout import Layout, all_layouts
from segmend.audit.external.npz import npz_shape, read_npz
from segmend.audit.external.orientation import OrientationSearch, Placement
from segmend.audit.external.values import check_probabilities, to_probability
from segmend.audit.folder import AuditFolder
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.progress import track
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, read_image
from segmend.data.maps import MapNames
from segmend.data.nnunet import Declared, declared_classes, declared_reader
from segmend.data.raters import read_drawing

_FORMS = (
    "give a folder with CASE_CLASS.nii.gz for every class (which 'segmend predict' writes with `probabilities`), "
    "or CASE.npz (nnU-Net with --npz)"
)


@dataclass(frozen=True)
class ExternalProbabilities:
    """Probabilities of cases as files, in either of two forms.

    ``CASE_CLASS.nii.gz`` for every class, as ``segmend predict --probabilities true`` writes them, on the grid of the
    label by their headers; or ``CASE.npz`` with an array ``probabilities`` ``[classes, *axes]``, as nnU-Net writes it
    with ``--npz``, also for the validation cases of its folds. Such an array has no header: its axis order follows
    from the reader that nnU-Net's own files name, or else is the one that fits the labels best. The files do not show
    whether the models were trained on the labels.

    Attributes:
        root: the folder with the files, or the one above its folder 'probabilities'.
        folder: the data folder.
        found: array of each case, where they do not lie in one folder; ``root`` then holds nnU-Net's own files.
    """

    root: Path
    folder: DataFolder
    found: Mapping[str, Path] | None = None

    @cached_property
    def arrays(self) -> Path:
        """The folder with the files."""
        if self.found is not None:
            return self.root
        inner = self.root / "probabilities"
        return inner if inner.is_dir() else self.root

    def files(self, case: Case) -> list[Path]:
        """The files of a case: one, or one for each class."""
        if self.found is not None:
            return [self.found[case.name]]
        packed = self.arrays / f"{case.name}.npz"
        if packed.is_file():
            return [packed]
        return [self._names.file(self.arrays, case.name, label) for label in self.folder.labels]

    @property
    def declared(self) -> dict[str, object]:
        """What nnU-Net's own files say of the arrays, for the settings of an audit."""
        return {
            "reader": self._reader.value if self._reader else None,
            "classes": list(self._classes.value) if self._classes else None,
        }

    def check(self, cases: Sequence[Case]) -> None:
        """Makes sure that there are files of all cases, of one form and of the right shape, by their headers.

        Raises:
            InputError: there are not.
        """
        if not self.root.is_dir():
            raise InputError(self.root, "is not a folder", _FORMS, code="missing-file")
        missing = [case.name for case in cases if not all(file.is_file() for file in self.files(case))]
        if missing:
            problem = f"has no probabilities of {len(missing)} of {len(cases)} cases, '{missing[0]}' the first of them"
            raise InputError(self.root, problem, _FORMS, code="missing-file")
        packed = [case for case in cases if self._packed(case)]
        if packed and len(packed) < len(cases):
            other = next(case for case in cases if not self._packed(case))
            problem = f"holds {packed[0].name}.npz, but maps of case '{other.name}'"
            raise InputError(self.root, problem, "give all cases in one form", code="mismatch")
        if not packed:
            self._names.check(self.root)
        for case in cases:
            assert case.label is not None
            grid = read_grid(case.label)
            if packed:
                self._check_packed(self.files(case)[0], grid)
            else:
                for file in self.files(case):
                    _check_map(file, grid)
        if packed:
            self._layouts(cases)

    def examine(self, cases: Sequence[Case]) -> Placement:
        """Reads everything, and finds out how it lies on the labels.

        Raises:
            InputError: a file is damaged, or does not hold probabilities.
        """
        names = list(self.folder.labels)
        search = OrientationSearch(names, self._layouts(cases))
        for case in track(cases, "comparing probabilities with labels"):
            assert case.label is not None
            grid = read_grid(case.label)
            checked = check_probabilities(self.files(case)[0], names, self._array(case, grid))
            search.add(case.name, checked.predicted, read_drawing(case.label, self.folder, grid), grid)
        placement = search.placement(*self._declaration(cases))
        if all(self._packed(case) for case in cases):
            return placement
        # Headers say how maps lie: nothing was assumed that were worth a word.
        return placement if placement.uncertain else Placement(placement.layout, frozenset(), ())

    def write(self, cases: Sequence[Case], layout: Layout, out: AuditFolder) -> None:
        """Writes the evidence of cases.

        Args:
            cases: whose evidence is wanted.
            layout: of the arrays.
            out: where to.

        Raises:
            InputError: a file is damaged, or does not hold probabilities.
        """
        names = list(self.folder.labels)
        for case in track(cases, "reading probabilities"):
            assert case.label is not None
            grid = read_grid(case.label)
            array = self._array(case, grid)
            outside = check_probabilities(self.files(case)[0], names, array).outside
            maps = (
                np.ascontiguousarray(layout.place(to_probability(index, of_class, outside), grid))
                for index, of_class in enumerate(array)
            )
            write_evidence(out.evidence(case.name), maps)

    @cached_property
    def _names(self) -> MapNames:
        return MapNames([case.name for case in self.folder.cases], self.folder.labels)

    @cached_property
    def _reader(self) -> Declared | None:
        return declared_reader(self.arrays, self.folder.root)

    @cached_property
    def _classes(self) -> Declared | None:
        return declared_classes(self.arrays)

    @cached_property
    def _order(self) -> list[int]:
        """Place of each class in the arrays: that of its name, where nnU-Net's own dataset.json says it."""
        names = list(self.folder.labels)
        if self._classes and sorted(self._classes.value) == sorted(names):
            return [self._classes.value.index(name) for name in names]
        return list(range(len(names)))

    def _packed(self, case: Case) -> bool:
        return self.files(case)[0].suffix == ".npz"

    def _array(self, case: Case, grid: Grid) -> Sequence[NDArray[Any]]:
        """The map of each class, along the axes of its file."""
        files = self.files(case)
        if not self._packed(case):
            return _Maps(files)
        array = read_npz(files[0])
        return [array[place].reshape(_axes(array.shape[1:], grid)) for place in self._order]

    def _check_packed(self, file: Path, grid: Grid) -> None:
        shape, classes = npz_shape(file), len(self.folder.labels)
        if (
            len(shape) > 1
            and shape[0] == classes
            and any(layout.fits(_axes(shape[1:], grid), grid) for layout in self._possible(grid))
        ):
            return
        usual = self._possible(grid)[0].shape_on(grid)
        wanted = (classes, *(1,) * (3 - grid.dimensions), *usual)
        named = ", ".join(self.folder.labels)
        found = "has the shape " + _text(shape) + f", but {_text(wanted)} lies over the label"
        remedy = "export the probabilities on the grid of the scans, for every class"
        if shape[0] == classes - 1:
            found += f"; the background seems to be missing, as the classes are {named}"
        elif shape[-1] == classes and shape[0] != classes:
            found += "; the classes seem to be its last axis, but belong to its first"
        elif shape[0] != classes:
            found += f"; the classes are {named}"
        elif len(shape) == len(wanted) and all(np.less_equal(sorted(shape[1:]), sorted(wanted[1:]))):
            found += "; it seems to be cropped"
        elif self._reader:
            found += f" as {self._reader.value} reads it, which {self._reader.where} names"
        raise InputError(file, found, remedy, code="mismatch")

    def _read_layout(self, dimensions: int) -> Layout | None:
        """What the declared reader gives; None if none is declared or it is unknown."""
        return Layout.of_reader(self._reader.value, dimensions) if self._reader else None

    def _possible(self, grid: Grid) -> list[Layout]:
        declared = self._read_layout(grid.dimensions)
        return [declared] if declared else list(all_layouts(grid.dimensions))

    def _layouts(self, cases: Sequence[Case]) -> list[Layout]:
        """Every layout that all arrays fit, by their shapes; that which is declared first.

        Raises:
            InputError: each array has a layout of its own.
        """
        grids = [read_grid(case.label) for case in cases if case.label]
        packed = self._packed(cases[0])
        shapes = [
            _axes(npz_shape(self.files(case)[0])[1:], grid) if packed else grid.shape
            for case, grid in zip(cases, grids, strict=True)
        ]
        declared = self._declaration(cases)[0]
        known = [declared] if declared else []
        layouts = [
            layout
            for layout in dict.fromkeys([*known, *all_layouts(grids[0].dimensions)])
            if all(layout.fits(shape, grid) for shape, grid in zip(shapes, grids, strict=True))
        ]
        if not layouts or (declared and declared not in layouts):
            problem = f"holds arrays whose shapes fit the labels of {len(cases)} cases in no common order of their axes"
            raise InputError(self.root, problem, "export all of them in the same way", code="mismatch")
        return layouts

    def _declaration(self, cases: Sequence[Case]) -> tuple[Layout | None, str]:
        """How the arrays lie by what is written of them, and who says so."""
        assert cases[0].label is not None
        dimensions = read_grid(cases[0].label).dimensions
        if not self._packed(cases[0]):
            return Layout.own_axes(dimensions), "The maps of probabilities lie on the labels by their headers"
        if self._reader is None:
            return None, "No plans.json or dataset.json says which reader of nnU-Net gave the arrays their axes"
        name, where, layout = self._reader.value, self._reader.where, self._read_layout(dimensions)
        if layout is None:
            return None, f"{where} names the reader '{name}', which is not known"
        return layout, f"The arrays are in the order of nnU-Net's {name}, which {where} names"


@dataclass(frozen=True)
class _Maps(Sequence[NDArray[Any]]):
    """Maps that are read when they are looked at, so that only one is in memory."""

    files: Sequence[Path]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        return read_image(self.files[index])[0][0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (read_image(file)[0][0] for file in self.files)


def _check_map(file: Path, grid: Grid) -> None:
    found, remedy = read_grid(file), "export the probabilities on the grid of the scans"
    if found.shape != grid.shape:
        problem = f"has the shape {_text(found.shape)}, but {_text(grid.shape)} lies over the label"
        raise InputError(file, problem, remedy, code="mismatch")
    if not found.matches(grid):
        raise InputError(file, f"lies up to {found.distance(grid):.1f} mm off the label", remedy, code="mismatch")


def _axes(shape: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """The shape without the axis of 1 that nnU-Net gives to pictures."""
    if grid.dimensions == 2 and len(shape) == 3 and 1 in shape:
        place = shape.index(1)
        return shape[:place] + shape[place + 1 :]
    return shape


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
