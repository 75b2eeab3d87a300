"""Data sets of TotalSegmentator as they are downloaded: a folder a subject, and in it a mask a class.

    SUBJECT/ct.nii.gz (or mri.nii.gz)    SUBJECT/segmentations/CLASS.nii.gz    meta.csv (image_id, split, institute)

Wasserthal et al., TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT Images, Radiology: AI 2023.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError, did_you_mean
from segmend.core.masks import IGNORE
from segmend.core.paths import entries, is_file, is_folder
from segmend.core.progress import say, track, warn
from segmend.data.cases_table import SEPARATOR, write_cases
from segmend.data.headers import collected, raise_all
from segmend.data.image import read_grid, write_label
from segmend.data.imports.masks import combine, read_mask
from segmend.data.imports.writing import Place, check_case_names, data_folder, require_apart, write_description
from segmend.data.memory import MemoryBudget
from segmend.data.names import check_name, clashes
from segmend.data.nifti_channels import read_volumes
from segmend.data.tables import read_table

_ENDING = ".nii.gz"
_SCANS = {"ct": "CT", "mri": "MR"}
"""Names of the scans, and of their channels."""
_MASKS = "segmentations"
_META = "meta.csv"
_MOST = IGNORE - 2
"""Classes besides the background that a label map of 8 bits holds, less the value of what is not annotated."""
_BYTES_PER_VOXEL = 24
"""While a label map is made: masks in the type of their files, and positions in them."""
_THREADS = min(4, os.cpu_count() or 1)
_FORM = f"give the folder that holds SUBJECT/ct{_ENDING} and SUBJECT/{_MASKS}/CLASS{_ENDING}"


@dataclass(frozen=True)
class _Subject:
    """A folder of a subject.

    Attributes:
        name: of the folder, and of the case.
        scan: its scan.
        masks: file of each class that it has and that was asked for.
        split: what it may be used for.
        domain: where the scan was made; "" if unknown.
    """

    name: str
    scan: Path
    masks: Mapping[str, Path]
    split: Split = Split.TRAIN
    domain: str = ""

    @property
    def part(self) -> str:
        """The end of the names of its folders."""
        return "Ts" if self.split is Split.TEST else "Tr"


def import_totalsegmentator(data: Path, out: Path, labels: Sequence[str] | None = None) -> None:
    """Write a data set of TotalSegmentator as a data folder.

    The masks of a subject become one label map, with the classes of all subjects by name. Where masks overlap, the
    smaller structure wins; how many voxels overlap is said. Scans become hard links where the file system allows it.
    ``meta.csv`` gives the split of the subjects, and the institute as ``domain``. A class that a subject has no file of
    is not annotated there (``annotated`` in ``cases.csv``).

    Args:
        data: the folder of the subjects; it is not changed.
        out: the data folder to write.
        labels: classes to take; all by default.

    Raises:
        InputError: a scan is missing, a mask does not lie on its scan, a class is not known, or there are too many;
            found before anything is written. A mask with several values is found when it is read.
    """
    require_apart(out, data)
    subjects = _subjects(data)
    classes = _classes(data, subjects, labels)
    subjects = _described(data, [_only(subject, classes) for subject in subjects])
    channel = _channel(data, subjects)
    raise_all(data, "subjects", list(collected(map(_check, track(subjects, "checking subjects")))))
    with data_folder(out) as folder:
        training = sum(subject.split is not Split.TEST for subject in subjects)
        write_description(
            folder,
            channels=[channel],
            labels={"background": 0} | {name: index for index, name in enumerate(classes, start=1)},
            training=training,
            ending=_ENDING,
            about={"name": "TotalSegmentator"},
        )
        overlaps = _write_all(folder, subjects, classes)
        write_cases(folder / "cases.csv", [_case(subject, classes) for subject in subjects])
    say(f"{len(subjects)} subjects imported ({training} for training or validation), {len(classes)} classes: {out}")
    _say_overlaps(overlaps)


def _subjects(data: Path) -> list[_Subject]:
    """All subjects with all their masks."""
    found, problems = [], []
    for folder in entries(data):
        if not folder.is_dir():
            continue
        scans = [folder / f"{name}{_ENDING}" for name in _SCANS if is_file(folder / f"{name}{_ENDING}")]
        masked = is_folder(folder / _MASKS)
        if len(scans) == 1:
            name = check_name(folder, "case", folder.name)
            files = [path for path in entries(folder / _MASKS) if path.name.endswith(_ENDING)] if masked else []
            masks = {check_name(path, "class", path.name.removesuffix(_ENDING)): path for path in files}
            found.append(_Subject(name, scans[0], masks))
        elif scans or masked:
            problem = "holds two scans" if scans else f"holds masks, but neither ct{_ENDING} nor mri{_ENDING}"
            problems.append(InputError(folder, problem, "keep one scan for each subject", code="missing-file"))
    if not found and not problems:
        raise InputError(data, "holds no subject of TotalSegmentator", _FORM, code="no-data")
    problems += check_case_names([(subject.scan.parent, subject.name) for subject in found])
    raise_all(data, "subjects", problems)
    return found


def _classes(data: Path, subjects: Sequence[_Subject], labels: Sequence[str] | None) -> list[str]:
    """Names of the classes, sorted."""
    known = sorted({name for subject in subjects for name in subject.masks})
    if not known:
        raise InputError(data, f"holds no mask, as no subject has {_MASKS}/CLASS{_ENDING}", _FORM, code="no-data")
    for name in labels or ():
        if name not in known:
            raise InputError(
                "labels", f"names '{name}', which no subject has", did_you_mean(name, known), code="unknown-name"
            )
    chosen = sorted(set(labels)) if labels else known
    for one, other in clashes(chosen):
        problem = f"has the classes '{one}' and '{other}', which differ in capitals only"
        raise InputError(data, problem, "rename the files of one", code="duplicate")
    if len(chosen) > _MOST:
        problem = f"has {len(chosen)} classes, but a label map holds {_MOST} besides the background"
        raise InputError(data, problem, "choose some of them by `labels`", code="unsupported")
    if "background" in chosen or any(SEPARATOR in name for name in chosen):
        name = next(name for name in chosen if name == "background" or SEPARATOR in name)
        raise InputError(data, f"has a class called '{name}'", "rename its files", code="invalid-name")
    return chosen


def _only(subject: _Subject, classes: Sequence[str]) -> _Subject:
    return replace(subject, masks={name: subject.masks[name] for name in classes if name in subject.masks})


def _described(data: Path, subjects: Sequence[_Subject]) -> list[_Subject]:
    """The subjects with what ``meta.csv`` says of them."""
    file = data / _META
    if not is_file(file):
        say(f"{data} has no {_META}: all subjects are for training")
        return list(subjects)
    table = read_table(file, ("image_id", "split", "institute"))
    if "image_id" not in table.columns:
        raise InputError(file, "has no column 'image_id'", "get the file again", code="missing-value")
    rows = {row.cells["image_id"]: row for row in table.rows}
    described = []
    for subject in subjects:
        row = rows.get(subject.name)
        if row is None:
            described.append(subject)
            continue
        split = row.choice("split", tuple(Split)) if "split" in table.columns else ""
        domain = row.cells.get("institute", "")
        if domain:
            check_name(row.where, "domain", domain)
        described.append(replace(subject, split=Split(split or Split.TRAIN), domain=domain))
    missing = [subject.name for subject in subjects if subject.name not in rows]
    if missing:
        warn(f"{file} has no row of {len(missing)} subjects, which are for training; the first is {missing[0]}")
    if all(subject.split is Split.TEST for subject in described):
        problem = "says that all subjects are for testing"
        raise InputError(file, problem, "add subjects, or remove the column 'split' from a copy", code="no-data")
    return described


def _channel(data: Path, subjects: Sequence[_Subject]) -> str:
    kinds = {subject.scan.name.removesuffix(_ENDING): subject.name for subject in subjects}
    if len(kinds) > 1:
        examples = " and ".join(f"{_SCANS[kind]} ({name})" for kind, name in kinds.items())
        raise InputError(data, f"holds {examples} scans", "import each kind by itself", code="mismatch")
    return _SCANS[next(iter(kinds))]


def _check(subject: _Subject) -> None:
    """Check by the headers that the masks of a subject lie on its scan, and that all files are complete."""
    scan = read_volumes(subject.scan)
    if scan.channels != 1:
        problem = f"has {scan.channels} volumes"
        raise InputError(subject.scan, problem, "give one volume for each subject", code="unsupported")
    for file in subject.masks.values():
        mask = read_volumes(file)
        if (mask.channels, mask.grid.shape) != (1, scan.grid.shape) or not mask.grid.matches(scan.grid):
            problem = f"does not lie on its scan {subject.scan.name}"
            raise InputError(file, problem, "get both again, or resample the mask", code="mismatch")


def _write_all(folder: Path, subjects: Sequence[_Subject], classes: Sequence[str]) -> dict[str, int]:
    """Write scans and labels; voxels in more than one mask, by the name of the case."""
    budget = MemoryBudget()
    for part in {subject.part for subject in subjects}:  # once, and not by several threads
        (folder / f"images{part}").mkdir(exist_ok=True)
        (folder / f"labels{part}").mkdir(exist_ok=True)
    write = partial(_write, folder=folder, numbers={name: i for i, name in enumerate(classes, start=1)}, budget=budget)
    with ThreadPoolExecutor(_THREADS) as pool:
        written = track(pool.map(write, subjects), "importing subjects", len(subjects))
        return {subject.name: count for subject, count in zip(subjects, written, strict=True)}


def _write(subject: _Subject, folder: Path, numbers: Mapping[str, int], budget: MemoryBudget) -> int:
    place = Place(folder, subject.name, subject.part, _ENDING)
    place.link_image(subject.scan)
    if not subject.masks:
        return 0
    grid = read_grid(subject.scan)
    with budget.reserve(_BYTES_PER_VOXEL * int(np.prod(grid.shape))):
        masks = ((numbers[name], read_mask(file, grid)) for name, file in subject.masks.items())
        combined = combine(masks, grid)
        write_label(place.label, combined.label, like=subject.scan)
    return combined.overlapping


def _case(subject: _Subject, classes: Sequence[str]) -> Case:
    """The row of a subject in ``cases.csv``."""
    quality = Quality.NOISY if subject.masks else Quality.NONE
    if subject.split is Split.TEST and subject.masks:
        quality = Quality.EXPERT
    annotated = None if len(subject.masks) in (0, len(classes)) else tuple(subject.masks)
    return Case(subject.name, (), None, subject.split, quality, subject.domain, annotated=annotated)


def _say_overlaps(overlaps: Mapping[str, int]) -> None:
    found = {name: count for name, count in overlaps.items() if count}
    if found:
        most = max(found, key=lambda name: found[name])
        say(
            f"masks overlap in {sum(found.values())} voxels of {len(found)} subjects, most in {most} ({found[most]}); "
            "the smaller structure of the subject has them"
        )
