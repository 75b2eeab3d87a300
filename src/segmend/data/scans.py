"""The scans that are to be segmented: those of a folder, or files given one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from segmend.core.errors import InputError
from segmend.core.paths import FOLDER, is_file, is_folder, kind_of
from segmend.data import finding
from segmend.data.headers import raise_all
from segmend.data.image import case_name
from segmend.data.names import check_name, clashes

_NUMBERED = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)


def scans_of(images: Path | Sequence[Path], channels: int) -> dict[str, list[Path]]:
    """The files of each scan by the name of its case, in the order of their channels.

    Args:
        images: a folder of files CASE_0000.ENDING, CASE_0001.ENDING..., or files. A file may go without a number;
            then it holds all channels, and the case is called as it is.
        channels: of the run.

    Raises:
        InputError: there are none, a case is given twice, or scans do not have the channels that they should.
    """
    if isinstance(images, Path) and (kind_of(images) in (FOLDER, None)):
        return _in_folder(images, channels)
    return _given([images] if isinstance(images, Path) else list(images), channels)


def _in_folder(images: Path, channels: int) -> dict[str, list[Path]]:
    if not is_folder(images):
        remedy = "give the folder that holds CASE_0000 files, or a scan"
        raise InputError(images, "is not a folder", remedy, code="missing-file")
    problems: list[InputError] = []
    scans = finding.find_scans(images, None, problems)
    if problems:
        raise problems[0]
    if not scans:
        raise InputError(images, "holds no images", "give the folder that holds CASE_0000 files", code="no-data")
    _check_channels(images, scans, channels)
    return scans


def _given(files: Sequence[Path], channels: int) -> dict[str, list[Path]]:
    if not files:
        raise InputError("images", "names no file", "give a folder, a scan or several", code="missing-value")
    names: dict[Path, tuple[str, int]] = {}
    for file in files:
        if kind_of(file) == FOLDER:
            raise InputError(file, "is a folder among other paths", "give it alone, or its files", code="mismatch")
        if not is_file(file):
            raise InputError(file, "does not exist", "give a folder, a scan or several", code="missing-file")
        whole = case_name(file)
        named = _NUMBERED.fullmatch(whole)
        names[file] = (named[1], int(named[2])) if named else (whole, 0)
    # What looks like the number of a channel may be a part of the name, such as a year or the number of a patient.
    first = {name for name, number in names.values() if number == 0}
    scans: dict[str, dict[int, Path]] = {}
    for file, (name, number) in names.items():
        if number >= channels and name not in first:
            name, number = case_name(file), 0
        check_name(os.fsencode(file).decode(errors="backslashreplace"), "case", name)
        other = scans.setdefault(name, {}).setdefault(number, file)
        if other is not file:
            problem = f"is of the case '{name}', as {other}"
            raise InputError(file, problem, "give one of the two, or rename it", code="duplicate")
    for one, other_name in clashes(scans):
        problem = f"are of the cases '{one}' and '{other_name}', whose names differ in capitals only"
        raise InputError("images", problem, "rename one, as some file systems take them for one name", code="duplicate")
    sorted_scans = {name: [of_case[number] for number in sorted(of_case)] for name, of_case in scans.items()}
    _check_channels(None, sorted_scans, channels)
    return sorted_scans


def _check_channels(folder: Path | None, scans: Mapping[str, Sequence[Path]], channels: int) -> None:
    """Make sure that each scan has one file, or one for each channel.

    Raises:
        InputError: some do not; the message names their files.
    """
    wanted = [f"_{channel:04d}" for channel in range(channels)]
    problems = []
    for name, files in scans.items():
        found = [case_name(file)[-5:] for file in files]
        # One file may hold all channels; one that was given without a number is named as its case.
        whole = len(files) == 1 and (found == wanted[:1] or (folder is None and case_name(files[0]) == name))
        if found != wanted and not whole:
            problem, remedy = f"has the files {[file.name for file in files]}", f"the run wants {', '.join(wanted)}"
            where = folder / name if folder else files[0]
            problems.append(InputError(where, problem, remedy, code="mismatch"))
    raise_all(folder or "images", "scans", problems)
