"""From DICOM series, with RTSTRUCT and SEG as labels, to a data folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
from numpy.typing import NDArray

from segmend.core.case import Case, Quality
from segmend.core.errors import InputError, did_you_mean
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.grid import Grid
from segmend.core.masks import IGNORE
from segmend.core.progress import say, track, warn
from segmend.core.tables import write_json
from segmend.data.cases_table import write_cases
from segmend.data.dicom.case_names import case_names
from segmend.data.dicom.links import Link, write_links
from segmend.data.dicom.objects import ImageFiles, Objects, find_objects
from segmend.data.dicom.rtstruct import StructureSet
from segmend.data.dicom.segmentation import Segmentation
from segmend.data.dicom.series import Series, read_series
from segmend.data.dicom.structures import Overlap, Structures, label_map
from segmend.data.finding import MAIN
from segmend.data.headers import raise_all
from segmend.data.image import write_label
from segmend.data.names import confusable

_ENDING = ".nii.gz"
_PLACEHOLDER = "foreground"
"""Class of a data folder without any label, as dataset.json must name one."""

_LISTED = 20


def import_series(
    data: Path,
    out: Path,
    *,
    labels: Sequence[str] | None,
    modality: str | None,
    series: Sequence[str] | None,
    anonymous: bool,
) -> None:
    """Make a data folder of the DICOM series in a folder tree; ``segmend.data.dicom.import_dicom`` says how."""
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(
            out, "lies in the folder of the series, which is not changed", "choose another one", code="invalid-value"
        )
    require_empty(out)
    found = find_objects(data)
    chosen = _chosen(found, modality, series)
    _say_what_was_skipped(found)
    problems: list[InputError] = []
    volumes: list[Series] = []
    for files in track(chosen, "reading series"):
        with _collecting(problems):
            volumes.append(read_series(files))
    objects = _label_objects(found, {each.uid for each in chosen}, problems)
    raise_all(data, "series and labels", problems)
    classes = _classes(data, [each for group in objects.values() for each in group], labels)
    names = case_names(chosen, anonymous=anonymous)
    work = sorted(((names[each.files.uid], each) for each in volumes), key=lambda pair: pair[0])
    with atomic_folder(out) as folder:
        cases = _write_cases(folder, work, objects, classes)
        description = {
            "name": out.resolve().name,
            "channel_names": {"0": chosen[0].modality},
            "labels": {"background": 0} | {name: value for value, name in enumerate(classes.values(), start=1)},
            "numTraining": len(cases),
            "file_ending": _ENDING,
        }
        write_json(folder / "dataset.json", description)
        write_cases(folder / "cases.csv", cases)
        write_links(folder, {name: _link(each.files, data, anonymous) for name, each in work})
    labelled = sum(case.label is not None for case in cases)
    say(f"cases: {len(cases)}, with a label: {labelled}, classes: {', '.join(classes.values())}; in {out}")


@dataclass
class _Writer:
    """Writes the cases one by one, and collects what is wrong with their labels."""

    folder: Path
    values: Mapping[str, int]
    overlaps: list[Overlap]

    def write(self, name: str, series: Series, objects: Sequence[Structures]) -> Case:
        label, overlaps = label_map(objects, series, self.values, name) if objects else (None, [])
        self.overlaps += overlaps
        image = self.folder / "imagesTr" / f"{name}_0000{_ENDING}"
        file = self.folder / MAIN / (name + _ENDING) if label is not None else None
        if not self.overlaps:  # otherwise nothing is kept, and the other labels are only checked
            _write_scan(image, series.read(), series.grid)
            if file is not None and label is not None:
                write_label(file, label, like=image)
        return Case(name, (image,), file, quality=Quality.NOISY if file else Quality.NONE)


def _write_cases(
    folder: Path,
    work: Sequence[tuple[str, Series]],
    objects: Mapping[str, Sequence[Structures]],
    classes: Mapping[str, str],
) -> list[Case]:
    values = {form: value for value, form in enumerate(classes, start=1)}
    writer = _Writer(folder, values, [])
    problems: list[InputError] = []
    cases: list[Case] = []
    (folder / "imagesTr").mkdir()
    if objects:
        (folder / MAIN).mkdir()
    for name, series in track(work, "writing cases"):
        wanted = [
            each for each in objects.get(series.files.uid, ()) if any(confusable(one) in values for one in each.names)
        ]
        with _collecting(problems):
            cases.append(writer.write(name, series, wanted))
    raise_all(folder, "cases", problems)
    if writer.overlaps:
        raise _overlapping(writer.overlaps)
    with suppress(OSError):
        (folder / MAIN).rmdir()  # if no case has a label
    return cases


def _write_scan(path: Path, voxels: NDArray[Any], grid: Grid) -> None:
    image = nibabel.Nifti1Image(voxels, grid.affine)
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _chosen(found: Objects, modality: str | None, series: Sequence[str] | None) -> list[ImageFiles]:
    """The series to import.

    Raises:
        InputError: there is none, one that was named is not there, or they are of several modalities.
    """
    images = found.images
    if not images:
        raise InputError(
            found.root,
            f"holds no series of slices{_what_else(found)}",
            "give the folder with the DICOM files of a CT, MR or PET",
            code="no-data",
        )
    for uid in series or ():
        if uid not in images:
            raise InputError("series", f"there is no '{uid}'", did_you_mean(uid, images), code="unknown-name")
    chosen = [each for each in images.values() if series is None or each.uid in series]
    counts = Counter(each.modality for each in chosen)
    if modality is not None:
        if modality.upper() not in counts:
            raise InputError(
                "modality", f"there is no '{modality}'", did_you_mean(modality, counts), code="unknown-name"
            )
        chosen = [each for each in chosen if each.modality == modality.upper()]
    elif len(counts) > 1:
        listed = ", ".join(f"{name} ({count} series)" for name, count in sorted(counts.items()))
        remedy = f"choose one, such as `modality {max(sorted(counts), key=counts.__getitem__)}`"
        raise InputError(found.root, f"holds several modalities: {listed}", remedy, code="mismatch")
    return sorted(chosen, key=lambda each: each.uid)


def _what_else(found: Objects) -> str:
    parts = [f"{len(files)} {kind}, such as {files[0]}" for kind, files in sorted(found.skipped.items())]
    parts += [f"{len(found.foreign)} files that are no DICOM, such as {found.foreign[0]}"] if found.foreign else []
    labels = [*found.segmentations, *found.structure_sets]
    parts += [f"{len(labels)} labels, such as {labels[0]}"] if labels else []
    return f", but {'; '.join(parts)}" if parts else ""


def _say_what_was_skipped(found: Objects) -> None:
    for kind, files in sorted(found.skipped.items()):
        warn(f"left out: {len(files)} {kind}; the first is {files[0]}")
    if found.foreign:
        warn(f"left out: {len(found.foreign)} files that are no DICOM; the first is {found.foreign[0]}")


def _label_objects(found: Objects, chosen: set[str], problems: list[InputError]) -> dict[str, list[Structures]]:
    """All labels by the series that they belong to; those of series that were not chosen are left out."""
    series_of_instance = {instance: uid for uid, files in found.images.items() for instance in files.files}
    kinds: list[tuple[Callable[[Path, Mapping[str, str]], Structures], list[Path]]] = [
        (Segmentation.open, found.segmentations),
        (StructureSet.open, found.structure_sets),
    ]
    objects: dict[str, list[Structures]] = defaultdict(list)
    left_out: list[Path] = []
    for open_file, paths in kinds:
        for path in track(paths, "reading labels") if paths else ():
            with _collecting(problems):
                opened = open_file(path, series_of_instance)
                if opened.series in chosen:
                    objects[opened.series].append(opened)
                elif opened.series in found.images:
                    left_out.append(path)
                else:
                    problem = f"belongs to the image series {opened.series}, which is not there"
                    raise InputError(path, problem, "add that series, or remove this file", code="missing-file")
    if left_out:
        warn(f"left out: {len(left_out)} labels of series that were not chosen; the first is {left_out[0]}")
    return objects


def _classes(data: Path, objects: Iterable[Structures], labels: Sequence[str] | None) -> dict[str, str]:
    """Class names by their common form, in the order of their values.

    Raises:
        InputError: a name that was given is that of no structure, or there are more classes than can be used.
    """
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for each in objects:
        for name in each.names:
            spellings[confusable(name)][name] += 1
    known = {form: min(counts, key=lambda name: (-counts[name], name)) for form, counts in spellings.items()}
    if labels is not None and known:
        for name in labels:
            if confusable(name) not in known:
                remedy = did_you_mean(name, known.values())
                raise InputError("labels", f"there is no structure '{name}'", remedy, code="unknown-name")
        classes = {confusable(name): known[confusable(name)] for name in labels}
    elif known:
        classes = {form: known[form] for form in sorted(known)}
    else:
        classes = {confusable(name): name for name in labels or [_PLACEHOLDER]}
        if not labels:
            warn(f"no RTSTRUCT or SEG belongs to a series, so dataset.json has a class '{_PLACEHOLDER}' without labels")
    if len(classes) + 1 >= IGNORE:
        problem = f"has structures of {len(classes)} names, but {IGNORE - 2} classes are possible"
        raise InputError(data, problem, "choose some by `labels NAME NAME`", code="unsupported")
    several = sorted(form for form in classes if len(spellings[form]) > 1)
    if several:
        counts = spellings[several[0]]
        warn(f"{len(several)} structures are spelt differently, such as {' and '.join(sorted(counts))}: taken as one")
    return classes


def _overlapping(overlaps: Sequence[Overlap]) -> InputError:
    cases: dict[tuple[str, str], list[Overlap]] = defaultdict(list)
    for each in overlaps:
        cases[each.names].append(each)
    lines = []
    for (one, other), found in sorted(cases.items(), key=lambda pair: -len(pair[1])):
        first = found[0]
        more = f" and {len(found) - 1} other cases" if len(found) > 1 else ""
        lines.append(f"{one} and {other}: {first.voxels} voxels of {first.case}{more}")
    shown = [*lines[:_LISTED], *([f"{len(lines) - _LISTED} more"] if len(lines) > _LISTED else [])]
    return InputError(
        "labels",
        f"{len(lines)} pairs of structures overlap, and a voxel can have one class"
        if len(lines) > 1
        else "two structures overlap, and a voxel can have one class",
        "choose structures that do not overlap by `labels NAME NAME`",
        shown,
        code="unsupported",
    )


def _link(files: ImageFiles, data: Path, anonymous: bool) -> Link:
    folder = next(iter(files.files.values())).parent.relative_to(data).as_posix()
    return Link(files.uid, "" if anonymous else folder)


@contextmanager
def _collecting(problems: list[InputError]) -> Iterator[None]:
    """Collect an error of the block, so that the next file is checked too."""
    try:
        yield
    except InputError as error:
        problems.append(error)
