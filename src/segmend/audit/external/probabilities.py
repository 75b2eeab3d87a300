"""Evidence for ``segmend audit`` from probabilities and label maps of other programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from segmend.audit.evidence import write_classes
from segmend.audit.external.form import NEEDED, Form
from segmend.audit.external.label_maps import LabelFiles, MaskFolders
from segmend.audit.external.layout import Layout, all_layouts
from segmend.audit.external.maps import ProbabilityMaps
from segmend.audit.external.orientation import CaseFit, OrientationSearch, Placement
from segmend.audit.external.packed import PackedArrays
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.parallel import fitting_workers, in_order
from segmend.core.progress import track
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.raters import read_drawing

_Result = TypeVar("_Result")

_BYTES_PER_VOXEL = 32
"""Memory of a process that reads the probabilities of a case, whatever the number of classes."""


@dataclass(frozen=True)
class ExternalProbabilities:
    """Probabilities of cases as files of one of several forms.

    Maps ``CASE_CLASS.nii.gz`` (``maps.py``), arrays ``CASE.npz`` (``packed.py``), or label maps (``label_maps.py``).
    The files do not show whether the models were trained on the labels.

    Attributes:
        root: the folder with the files, or the one above its folder 'probabilities'.
        folder: the data folder.
        found: array of each case, where they do not lie in one folder; ``root`` then holds nnU-Net's own files.
    """

    root: Path
    folder: DataFolder
    found: Mapping[str, Path] | None = None

    @cached_property
    def form(self) -> Form:
        """Files of the form that the first case has; of probabilities that no case has."""
        return next((form for form in self._forms if any(map(form.holds, self.folder.cases))), self._forms[0])

    def files(self, case: Case) -> list[Path]:
        """The files of a case."""
        return self.form.files(case)

    @property
    def declared(self) -> dict[str, object]:
        """What is known of all files together, for the settings of an audit."""
        return self.form.declared

    def check(self, cases: Sequence[Case]) -> None:
        """Makes sure that there are files of all cases, of one form and of the right shape, by their headers.

        Raises:
            InputError: there are not.
        """
        if not self.root.is_dir():
            raise InputError(self.root, "is not a folder", NEEDED, code="missing-file")
        missing = [case for case in cases if not self.form.holds(case)]
        other = next((case for case in missing if any(form.holds(case) for form in self._forms)), None)
        if other and len(missing) < len(cases):
            first = next(case for case in cases if case not in missing)
            others = next(form for form in self._forms if form.holds(other)).files(other)
            problem = f"holds {self._named(self.files(first))}, but of case '{other.name}' {self._named(others)}"
            raise InputError(self.root, problem, "give all cases in one form", code="mismatch")
        if missing:
            problem = (
                f"has no probabilities of {len(missing)} of {len(cases)} cases, '{missing[0].name}' the first of them"
            )
            raise InputError(self.root, problem, NEEDED, code="missing-file")
        self.form.check(cases)
        self._layouts(cases)

    def examine(self, cases: Sequence[Case], cores: int = 1) -> Placement:
        """Reads everything, and finds out how it lies on the labels.

        Args:
            cases: those to judge.
            cores: the most processes that work on cases at once.

        Raises:
            InputError: a file is damaged, or does not hold what it should.
        """
        layouts = self._layouts(cases)
        search = OrientationSearch(list(self.folder.labels), layouts)

        def compare(case: Case) -> CaseFit:
            assert case.label is not None
            grid = read_grid(case.label)
            label = read_drawing(case.label, self.folder, grid)
            return search.compare(case.name, self.form.predicted(case, grid), label, grid)

        for fit in self._each(compare, cases, cores, "comparing probabilities with labels"):
            search.add(fit)
        declared, because = self._declaration(cases)
        placement = search.placement(declared, because)
        self.form.fit(cases, self._workers(cases, cores))
        if not isinstance(self.form, PackedArrays) and not placement.uncertain:
            # Headers say how files lie: nothing was assumed that were worth a word.
            return Placement(placement.layout, frozenset(), ())
        return placement

    def write(self, cases: Sequence[Case], layout: Layout, place: Callable[[str], Path], cores: int = 1) -> None:
        """Writes the evidence of cases, after ``examine``.

        Args:
            cases: whose evidence is wanted.
            layout: of the arrays.
            place: gives the file of a case by its name.
            cores: the most processes that work on cases at once.

        Raises:
            InputError: a file is damaged, or does not hold probabilities.
        """

        def write(case: Case) -> None:
            assert case.label is not None
            grid = read_grid(case.label)
            maps = ((index, layout.place(of_class, grid)) for index, of_class in self.form.probabilities(case, grid))
            write_classes(place(case.name), maps)

        for _ in self._each(write, cases, cores, "reading probabilities"):
            pass

    def _each(self, work: Callable[[Case], _Result], cases: Sequence[Case], cores: int, what: str) -> Iterator[_Result]:
        return track(in_order(work, cases, self._workers(cases, cores)), what, len(cases))

    def _workers(self, cases: Sequence[Case], cores: int) -> int:
        largest = max((math.prod(read_grid(case.label).shape) for case in cases if case.label), default=1)
        return fitting_workers(cores, _BYTES_PER_VOXEL * largest)

    @cached_property
    def _forms(self) -> tuple[Form, ...]:
        """The forms in which files are looked for; probabilities say more than label maps."""
        if self.found is not None:
            return (PackedArrays(self.root, self.folder, self.found),)
        inner = self.root / "probabilities"
        arrays = inner if inner.is_dir() else self.root
        return (
            PackedArrays(arrays, self.folder),
            ProbabilityMaps(arrays, self.folder),
            LabelFiles(self.root, self.folder),
            MaskFolders(self.root, self.folder),
        )

    def _named(self, files: Sequence[Path]) -> str:
        return str(files[0].relative_to(self.root))

    def _layouts(self, cases: Sequence[Case]) -> list[Layout]:
        """Every layout that all arrays fit, by their shapes; that which is declared first.

        Raises:
            InputError: each array has a layout of its own.
        """
        grids = [read_grid(case.label) for case in cases if case.label]
        shapes = [self.form.shape(case, grid) for case, grid in zip(cases, grids, strict=True)]
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
        return self.form.declaration(read_grid(cases[0].label).dimensions)
