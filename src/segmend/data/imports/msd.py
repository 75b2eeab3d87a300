"""Data sets of the Medical Segmentation Decathlon as they are downloaded.

``dataset.json`` lists the cases (``training``: image and label, ``test``: images), names the channels (``modality``)
and the classes by their values (``{"0": "background"}``). A scan of several channels is one file with a fourth axis.
Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segmend.core.errors import InputError
from segmend.core.paths import is_file, read_json
from segmend.core.progress import say, track, warn
from segmend.data.description import FILE, read_channels, read_labels
from segmend.data.headers import collected, raise_all
from segmend.data.image import NIFTI, case_name, is_image_file
from segmend.data.imports.writing import (
    Place,
    check_case_names,
    data_folder,
    require_apart,
    write_description,
)
from segmend.data.names import check_name
from segmend.data.nifti import NiftiHeader
from segmend.data.nifti_channels import read_volumes, split_channels

_PARTS = (("training", "Tr"), ("test", "Ts"))
_UNPACK = "give the folder that the downloaded archive was unpacked to; it holds dataset.json, imagesTr and labelsTr"


@dataclass(frozen=True)
class _Listed:
    """A case of a list in ``dataset.json``."""

    name: str
    part: str
    image: Path
    label: Path | None


def import_msd(data: Path, out: Path) -> None:
    """Write a data set of the Decathlon as a data folder.

    Scans of one channel become hard links where the file system allows it; of several channels, each becomes a file
    with the same voxels. Labels are copied. Cases of ``test`` come into ``imagesTs``, with a label only where
    ``labelsTs`` has one. Files that are in no list are left out and named.

    Args:
        data: the unpacked folder; it is not changed.
        out: the data folder to write.

    Raises:
        InputError: a list, scan or label is missing, or a label does not lie on its scan; found before anything is
            written.
    """
    require_apart(out, data)
    about = read_json(data / FILE, _UNPACK)
    channels = read_channels(data / FILE, about.get("modality", about.get("channel_names")))
    classes, ignore = read_labels(data / FILE, about.get("labels"))
    cases = _listed(data, about)
    ending = _ending(data, cases)
    headers = _checked(data, cases, channels)
    labels = classes if ignore is None else {**classes, "ignore": ignore}
    with data_folder(out) as folder:
        training = sum(case.part == "Tr" for case in cases)
        write_description(folder, channels=channels, labels=labels, training=training, ending=ending, about=about)
        for case in track(cases, "importing cases"):
            _write(case, headers[case], Place(folder, case.name, case.part, ending))
    unlabelled = sum(case.label is None for case in cases)
    split = f", {len(channels)} channels each split into files" if len(channels) > 1 else ""
    say(f"{len(cases)} cases imported ({training} for training, {unlabelled} without a label){split}: {out}")


def _listed(data: Path, about: Mapping[str, Any]) -> list[_Listed]:
    """The cases of both lists.

    Raises:
        InputError: an entry is of another form, or two cases share a name.
    """
    file, cases = data / FILE, []
    for key, part in _PARTS:
        entries = about.get(key, [] if part == "Ts" else None)
        if not isinstance(entries, list) or (part == "Tr" and not entries):
            problem = f"has no list '{key}', by which the Decathlon names its cases"
            raise InputError(file, problem, _UNPACK, code="missing-value")
        for entry in entries:
            image, label = _entry(file, key, entry)
            if image.name.startswith("."):  # what macOS adds to archives
                continue
            name = check_name(data / image, "case", case_name(Path(image)))
            if label is None:
                own = data / f"labels{part}" / image.name
                cases.append(_Listed(name, part, data / image, own if part == "Ts" and is_file(own) else None))
            else:
                cases.append(_Listed(name, part, data / image, data / label))
    raise_all(data, "cases", list(check_case_names([(case.image, case.name) for case in cases])))
    return cases


def _entry(file: Path, key: str, entry: Any) -> tuple[PurePosixPath, PurePosixPath | None]:
    """The files of an entry: ``{"image": ..., "label": ...}``, or the image alone."""
    given = entry if isinstance(entry, dict) else {"image": entry}
    paths: list[PurePosixPath | None] = []
    for kind in ("image", "label"):
        path = given.get(kind)
        if path is None and kind == "label" and key == "test":
            paths.append(None)
            continue
        if not isinstance(path, str) or not path or "\0" in path:
            form = '{"image": "./imagesTr/NAME.nii.gz", "label": "./labelsTr/NAME.nii.gz"}'
            raise InputError(file, f"{key} holds {ascii(entry)[:80]}", f"write {form}", code="invalid-value")
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.name:
            problem = f"{key} names '{path}', which is not below the folder"
            raise InputError(file, problem, "give paths below it", code="invalid-value")
        paths.append(parts)
    image, label = paths
    assert image is not None
    return image, label


def _ending(data: Path, cases: list[_Listed]) -> str:
    """The common ending of all files."""
    files = [file for case in cases for file in (case.image, case.label) if file]
    ending = next((end for end in NIFTI if files[0].name.endswith(end)), NIFTI[0])
    other = next((file for file in files if not file.name.endswith(ending)), None)
    if other:
        remedy = f"convert all scans and labels of {data.name} to {NIFTI[0]}, and correct the lists"
        raise InputError(other, f"does not end in {ending}, as the other files do", remedy, code="unsupported")
    return ending


def _checked(data: Path, cases: list[_Listed], channels: tuple[str, ...]) -> dict[_Listed, NiftiHeader]:
    """The header of each scan.

    Raises:
        InputError: files are missing or damaged, have other channels, or do not lie on their scan; all at once.
    """
    headers: dict[_Listed, NiftiHeader] = {}

    def check(case: _Listed) -> None:
        header = read_volumes(case.image)
        if header.channels != len(channels):
            problem = f"has {header.channels} channels, but dataset.json names {len(channels)} ({', '.join(channels)})"
            raise InputError(case.image, problem, "correct 'modality', or get the file again", code="mismatch")
        if case.label:
            label = read_volumes(case.label)
            if label.channels != 1:
                problem = f"is a label with {label.channels} channels"
                raise InputError(case.label, problem, "give one number for each voxel", code="unsupported")
            if label.grid.shape != header.grid.shape or not label.grid.matches(header.grid):
                problem = f"does not lie on its scan {case.image.name}"
                raise InputError(case.label, problem, "get both again, or resample the label", code="mismatch")
        headers[case] = header

    raise_all(data, "files", list(collected(map(check, track(cases, "checking cases")))))
    left_out = list(_in_no_list(data, cases))
    if left_out:
        warn(f"{data}: {len(left_out)} files are in no list of dataset.json, and left out; the first is {left_out[0]}")
    return headers


def _in_no_list(data: Path, cases: list[_Listed]) -> Iterator[str]:
    listed = {file.resolve() for case in cases for file in (case.image, case.label) if file}
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        place = data / folder
        for path in sorted(place.iterdir()) if place.is_dir() else []:
            if is_image_file(path) and path.resolve() not in listed:
                yield f"{folder}/{path.name}"


def _write(case: _Listed, header: NiftiHeader, place: Place) -> None:
    if header.channels > 1:
        split_channels(header, [place.image(channel) for channel in range(header.channels)])
    else:
        place.link_image(case.image)
    if case.label:
        place.copy_label(case.label)
