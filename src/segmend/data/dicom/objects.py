"""What a folder tree of DICOM files holds: image series, segmentations, structure sets, and the rest."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from segmend.core.errors import InputError
from segmend.core.paths import is_folder
from segmend.core.progress import track
from segmend.data.container import explained

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEG = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations: Segmentation and Label Map Segmentation Storage."""

_RTDOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_PREAMBLE = 128
_ENDINGS = (".dcm", ".dicom", ".ima")
_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "ImageType", "PatientID"),
    *("StudyDate", "SeriesNumber", "SeriesDescription", "Rows", "SamplesPerPixel", "ImagePositionPatient"),
    "SharedFunctionalGroupsSequence",
]


@dataclass
class ImageFiles:
    """The files of one image series, with what names it.

    Attributes:
        uid: SeriesInstanceUID.
        study: StudyInstanceUID.
        modality: such as CT.
        patient: PatientID; "" if unknown.
        date: StudyDate, YYYYMMDD; "" if unknown.
        number: SeriesNumber; "" if unknown.
        files: of its instances, by SOPInstanceUID.
    """

    uid: str
    study: str
    modality: str
    patient: str
    date: str
    number: str
    files: dict[str, Path] = field(default_factory=dict)


@dataclass
class Objects:
    """What a folder tree holds.

    Attributes:
        root: the folder.
        images: image series by SeriesInstanceUID.
        segmentations: files of SEG objects.
        structure_sets: files of RTSTRUCT objects.
        skipped: files of DICOM objects that are neither, by what they are.
        foreign: files that are no DICOM.
    """

    root: Path
    images: dict[str, ImageFiles] = field(default_factory=dict)
    segmentations: list[Path] = field(default_factory=list)
    structure_sets: list[Path] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)


@contextmanager
def quiet_reading(path: Path) -> Iterator[None]:
    """Explain errors while a DICOM file is read, and drop the remarks of pydicom about unusual values.

    Raises:
        InputError: instead of any other exception.
    """
    with explained(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path, tags: list[str] | None = None) -> Any:
    """All attributes of a file before its pixels, or those named.

    Raises:
        InputError: the file cannot be read.
    """
    with quiet_reading(path):
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)


def find_objects(root: Path, folders: Sequence[Path] | None = None) -> Objects:
    """Read the headers of all files of a folder tree.

    Args:
        root: the folder. Hidden files and folders are left out.
        folders: look only into these folders of it.

    Raises:
        InputError: there is no such folder, a DICOM file cannot be read, or two files hold one instance.
    """
    if not is_folder(root):
        raise InputError(root, "does not exist", "give the folder that holds the DICOM files", code="missing-file")
    found = Objects(root)
    files = dict.fromkeys(path for folder in ([root] if folders is None else folders) for path in _files(folder))
    for path in track(files, "reading DICOM headers"):
        if _is_dicom(path):
            _sort_in(found, path, read_header(path, _TAGS))
        else:
            found.foreign.append(path)
    return found


def _files(root: Path) -> list[Path]:
    paths: list[Path] = []
    seen: set[str] = set()  # links to folders are followed, but not in a circle
    for folder, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        if os.path.realpath(folder) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return paths


def _refuse(error: OSError) -> None:
    raise InputError(
        Path(error.filename), f"cannot be listed ({error.strerror})", "ask for the right to read it", code="unreadable"
    )


def _is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM after its preamble, or at least an ending that promises it."""
    with explained(path), path.open("rb") as file:
        return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM" or path.name.lower().endswith(_ENDINGS)


def _sort_in(found: Objects, path: Path, header: Any) -> None:
    sop_class, uid = str(header.get("SOPClassUID", "")), str(header.get("SeriesInstanceUID", ""))
    if not sop_class and path.name.lower().endswith(_ENDINGS):
        problem = "cannot be read as DICOM: it has no SOP Class UID"
        raise InputError(path, problem, "copy or export it again, or remove it", code="damaged")
    if sop_class in SEG:
        found.segmentations.append(path)
    elif sop_class == RTSTRUCT:
        found.structure_sets.append(path)
    elif not uid or (kind := _not_a_slice(header)):
        if uid:
            found.skipped.setdefault(kind, []).append(path)
    else:
        _add_instance(found.images, path, header, uid)


def _not_a_slice(header: Any) -> str:
    """What an object is, if it is no part of a tomographic image series; "" otherwise."""
    modality = str(header.get("Modality", "")) or "without modality"
    if "Rows" not in header or header.SOPClassUID == _RTDOSE:
        return f"{modality} objects"
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return f"{modality} colour images"
    if "LOCALIZER" in (header.get("ImageType") or ()):
        return f"{modality} localisers"
    has_place = "ImagePositionPatient" in header or "SharedFunctionalGroupsSequence" in header
    return "" if has_place else f"{modality} images without a position in the patient"


def _add_instance(images: dict[str, ImageFiles], path: Path, header: Any, uid: str) -> None:
    modality, study = (str(header.get(tag) or "") for tag in ("Modality", "StudyInstanceUID"))
    patient, date, number = (str(header.get(tag) or "").strip() for tag in ("PatientID", "StudyDate", "SeriesNumber"))
    series = images.setdefault(uid, ImageFiles(uid, study, modality, patient, date, number))
    if (study, patient) != (series.study, series.patient):
        problem = f"has the SeriesInstanceUID of {next(iter(series.files.values()))}, but another study or patient"
        raise InputError(path, problem, "import the two series from separate folders", code="duplicate")
    other = series.files.setdefault(str(header.SOPInstanceUID), path)
    if other != path:
        raise InputError(path, f"holds the same instance as {other}", "remove one of the two", code="duplicate")
