"""segmend merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.progress import say, track
from segmend.data.cases_table import write_cases
from segmend.data.copying import link
from segmend.data.finding import CLEAN, label_of, rater_folders
from segmend.data.folder import DataFolder
from segmend.data.headers import collected, raise_all
from segmend.data.image import Grid, read_grid, read_label, write_label
from segmend.data.imports.writing import data_folder, require_apart, write_description
from segmend.data.merging import Member, Merging
from segmend.data.raters import read_drawing


def merge(*, data: list[Path], out: Path) -> DataFolder:
    """Make one data folder of several, with the classes of all.

    Classes are matched by name. The first data set keeps its label values; a label of another one is written with other
    values where it has to be, and all other files are hard links where the file system allows it: make changes in a
    copy, such as 'segmend correct' writes. A class that a data set does not list is not annotated in its cases, and
    neither background nor object there: column 'annotated' of cases.csv. Data sets need not share a class.

    The column 'domain' has the name of the data set. Cases whose names clash get it as a prefix. Channels must have the
    same names in all data sets, and may be in another order. Labels of further raters are merged by their names.

    Args:
        data: the data folders, two or more; they are not changed.
        out: the data folder to write.

    Returns:
        The data folder.

    Raises:
        InputError: the data sets do not fit, or a label has values that its dataset.json does not name; found before
            anything is written.

    Example:
        segmend merge --data LIVER SPLEEN --out ABDOMEN
    """
    require_apart(out, *data)
    merging = Merging.of(data)
    files = [_Files(merging, member) for member in merging.members]
    raise_all(data[0].parent, "files", list(collected(map(_Files.check, track(files, "checking cases")))))
    _check_dimensions(files)
    with data_folder(out) as folder:
        labels = merging.labels if merging.ignore is None else {**merging.labels, "ignore": merging.ignore}
        write_description(
            folder,
            channels=merging.channel_names,
            labels=labels,
            training=sum(each.part == "Tr" for each in files),
            ending=merging.folders[0].file_ending,
            about={"name": out.resolve().name},
        )
        written = Counter(done for each in track(files, "merging cases") for done in each.write(folder))
        merged = sorted((member.merged for member in merging.members), key=lambda case: case.name)
        write_cases(folder / "cases.csv", merged)
    _tell(merging, written, out)
    return DataFolder.open(out)


class _Files:
    """The files of a case, and what becomes of them.

    Args:
        merging: how the data sets fit together.
        member: the case.
    """

    def __init__(self, merging: Merging, member: Member) -> None:
        self.member, self.ending = member, merging.folders[member.origin].file_ending
        self.folder, self.order = merging.folders[member.origin], merging.channels(member.origin)
        self.values = merging.values(member.origin)
        self.part = member.case.images[0].parent.name.removeprefix("images")
        self.dimensions = 0

    @property
    def changes(self) -> bool:
        """Whether values of the data set change."""
        return any(old != new for old, new in self.values.items())

    def labels(self) -> Iterator[Path]:
        """The label files of the case, by every rater."""
        places = [self.folder.root / f"labels{self.part}"]
        if self.part == "Tr":
            places += [*rater_folders(self.folder.root).values(), self.folder.root / CLEAN]
        for place in places:
            file = label_of(self.member.case.name, place, self.ending)
            if file:
                yield file

    def check(self) -> None:
        """Check that scans and labels lie on each other, and that labels hold known values.

        Raises:
            InputError: they do not.
        """
        images = self.member.case.images
        grid = read_grid(images[0])
        self.dimensions = grid.dimensions
        if len(images) != len(self.order) and self.order != sorted(self.order):
            problem = f"holds several channels in one file, in another order than {self.member.case.name} needs"
            raise InputError(images[0], problem, "write a file for each channel", code="unsupported")
        for image in images[1:]:
            _require_place(image, read_grid(image), grid)
        for label in self.labels():
            # Values without a class could become those of another data set's classes.
            read_drawing(label, self.folder, grid)

    def write(self, out: Path) -> Iterator[str]:
        """Write the files; yields what was done to each label."""
        images = self.member.case.images
        (out / f"images{self.part}").mkdir(exist_ok=True)
        order = self.order if len(images) == len(self.order) else range(len(images))
        for channel, source in enumerate(order):
            link(images[source], out / f"images{self.part}" / f"{self.member.merged.name}_{channel:04d}{self.ending}")
        for label in self.labels():
            place = out / label.parent.name / f"{self.member.merged.name}{self.ending}"
            place.parent.mkdir(exist_ok=True)
            yield self._write_label(label, place)

    def _write_label(self, label: Path, place: Path) -> str:
        if self.changes:
            values, _ = read_label(label)
            renumbered = _renumbered(values, self.values)
            if not np.array_equal(renumbered, values):
                write_label(place, renumbered, like=label)
                return "rewritten"
        link(label, place)
        return "linked"


def _renumbered(values: NDArray[np.integer], renumbering: dict[int, int]) -> NDArray[np.uint16]:
    renumbered = np.zeros(values.shape, dtype=np.uint16)
    for old, new in renumbering.items():
        renumbered[values == old] = new
    return renumbered


def _require_place(file: Path, grid: Grid, first: Grid) -> None:
    if grid.shape != first.shape or not grid.matches(first):
        raise InputError(file, "does not lie on the first channel", "resample it to the same grid", code="mismatch")


def _check_dimensions(files: list[_Files]) -> None:
    first = files[0]
    for other in files:
        if other.dimensions != first.dimensions:
            problem = f"is {other.dimensions}D, but {first.member.case.images[0]} is {first.dimensions}D"
            remedy = "keep 2D and 3D data sets in folders of their own"
            raise InputError(other.member.case.images[0], problem, remedy, code="mismatch")


def _tell(merging: Merging, written: Counter[str], out: Path) -> None:
    say(
        f"{len(merging.members)} cases of {len(merging.folders)} data sets merged, {len(merging.labels) - 1} classes; "
        f"labels linked: {written['linked']}, written with other values: {written['rewritten']}: {out}"
    )
    partly = sum(member.merged.annotated is not None for member in merging.members)
    if partly:
        say(f"{partly} cases are annotated for some of the classes only: column 'annotated' of cases.csv")
    renamed = [member for member in merging.members if member.merged.name != member.case.name]
    if renamed:
        before, after = renamed[0].case.name, renamed[0].merged.name
        say(f"{len(renamed)} cases got a prefix, as names clashed, such as {after} for {before}")
