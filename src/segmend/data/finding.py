"""Finds the scans and labels of each case in a folder.

Every command uses this module to list images or labels: names are compared in one Unicode form, hidden files are left
out, and files that look like a scan or label but cannot be one are reported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from segmend.core.errors import InputError, did_you_mean
from segmend.core.paths import FILE, entries, is_file, kind_of
from segmend.data.image import ENDINGS, case_name, is_image_file
from segmend.data.names import canonical, check_folder_name, check_name, clashes, confusable

MAIN = "labelsTr"
"""Folder of the labels that are used where no rater is named, and the name of their rater."""

RATER = "labelsTr_"
"""How the folder of a further rater begins; the name of the rater follows."""

CLEAN = "labelsTr_clean"
"""Folder of the true labels of cases whose labels were made noisy on purpose; it is no rater's."""

_IMAGE_NAME = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)
_PARTS = ("imagesTr", "imagesTs", "labelsTr", "labelsTs")
_PART = re.compile(r"(image|label)s?[ _-]*(tr|ts)(_.*)?", re.IGNORECASE)

_TABLE = re.compile(r"cases?([.]csv)?[.](csv|txt|tsv|xlsx?|ods)", re.IGNORECASE)

_UNREAD = (".img", ".hdr", ".mhd", ".nhdr", ".mgz", ".mgh", ".gipl", ".dcm", ".nii.bz2", ".npy", ".npz", ".jpg", ".bmp")
"""Endings of labels in formats that are not read."""

_ALL_ENDINGS = sorted((*ENDINGS, *_UNREAD), key=len, reverse=True)
_EXPLAINED = 20


def misnamed_tables(root: Path) -> Iterator[InputError]:
    """Tables of cases that are not read, as they are not called cases.csv."""
    for path in entries(root):
        if _TABLE.fullmatch(path.name):
            yield InputError(
                path,
                "is not read, as the table of cases is cases.csv",
                "save it as cases.csv (UTF-8)",
                code="invalid-name",
            )


def image_files(folder: Path, problems: list[InputError], *, nested: bool = True) -> Iterator[Path]:
    """The scans or labels of a folder, in the order of names.

    Args:
        folder: the folder; there may be none.
        problems: where to list files that cannot be read, such as links that lead nowhere.
        nested: list files in sub-folders as problems, unless the folder itself has one of this name.

    Raises:
        InputError: the folder is none, or cannot be listed.
    """
    found = entries(folder)
    top = {path.name for path in found}
    for path in found:
        try:
            if is_image_file(path):
                if is_file(path):
                    yield path
            elif nested and _is_folder(path):
                _refuse_nested(path, top, problems)
        except InputError as error:
            problems.append(error)


def find_scans(images: Path, ending: str | None, problems: list[InputError]) -> dict[str, list[Path]]:
    """The files of each scan in a folder, by its name and in the order of their channels.

    Args:
        images: the folder.
        ending: of all files; None takes any that is read.
        problems: where to list what is wrong with single files.

    Raises:
        InputError: the folder is none, or cannot be listed.
    """
    scans: dict[str, list[Path]] = {}
    for path in image_files(images, problems):
        named = _IMAGE_NAME.fullmatch(case_name(path))
        if named is None or not path.name.endswith(ending or tuple(ENDINGS)):
            problems.append(
                InputError(path, f"is not named CASE_0000{ending or '.nii.gz'}", "rename it", code="invalid-name")
            )
            continue
        try:
            name = check_name(os.fsencode(path).decode(errors="backslashreplace"), "case", named[1])
        except InputError as error:
            problems.append(error)
            continue
        scans.setdefault(name, []).append(path)
    for one, other in clashes(scans):
        problem = f"has the cases '{one}' and '{other}', whose names differ in capitals only"
        problems.append(
            InputError(images, problem, "rename one, as some file systems take them for one name", code="duplicate")
        )
    return scans


def find_labels(labels: Path, ending: str, problems: list[InputError] | None = None) -> dict[str, Path]:
    """The label files of a folder by the names of their cases; none, if there is no such folder.

    Args:
        labels: the folder.
        ending: of all files; others are no labels of a case.
        problems: where to list what is wrong with single files; by default the first of them is raised.

    Raises:
        InputError: the folder is none, or cannot be listed.
    """
    wrong: list[InputError] = []
    found: dict[str, Path] = {}
    for path in image_files(labels, wrong):
        if path.name.endswith(ending):
            other = found.setdefault(canonical(path.name[: -len(ending)]), path)
            if other is not path:
                wrong.append(
                    InputError(
                        path,
                        f"has the name of {other}, in another Unicode form",
                        "remove one of the two",
                        code="duplicate",
                    )
                )
    if problems is None and wrong:
        raise wrong[0]
    if problems is not None:
        problems += wrong
    return found


def stray_labels(labels: Path, ending: str, names: Collection[str]) -> Iterator[InputError]:
    """Label files of no case: their names differ from that of every case, or their endings from that of the folder.

    Args:
        labels: a folder of labels.
        ending: of the data folder.
        names: of the cases that may have a label there.
    """
    strays = 0
    for path in entries(labels):
        if path.name.endswith(ending) and canonical(path.name.removesuffix(ending)) in names:
            continue
        if is_image_file(path) or (path.name.lower().endswith(_UNREAD) and meant(path.name, names)):
            strays += 1
            # The nearest of thousands of names takes a while to find.
            remedy = _remedy_of_stray(path, ending, names) if strays <= _EXPLAINED else "rename or remove it"
            yield InputError(path, "is the label of no case, so it is not used", remedy, code="unknown-name")


def meant(given: str, names: Collection[str]) -> str | None:
    """The one name that a text can only stand for, though it has other capitals, an ending, a channel or no zeros."""
    form = confusable(given)
    bare = next((form.removesuffix(end) for end in _ALL_ENDINGS if form.endswith(end)), form)
    short = re.sub(r"[_.-](seg|label|mask|segmentation|[0-9]{4})$", "", bare)
    for loosened in (confusable, lambda name: _loose(confusable(name))):
        for candidate in (form, bare, short):
            likely = [name for name in names if loosened(name) == loosened(candidate)]
            if len(likely) == 1:
                return likely[0]
    return None


def remedy_of_name(given: str, names: Collection[str]) -> str:
    """What to do about a name that no case has."""
    if not names:
        return "there is none at all"
    one = meant(given, names)
    return did_you_mean(given, names) if one is None else f"did you mean {one}?"


def label_of(name: str, labels: Path, ending: str) -> Path | None:
    """The label file of one case in a folder, or None.

    Raises:
        InputError: what has its name is no file that can be read.
    """
    path = labels / (name + ending)
    if is_file(path):
        return path
    return None if name.isascii() else find_labels(labels, ending).get(name)  # in another Unicode form, say


def rater_folders(root: Path) -> dict[str, Path]:
    """Folders of further raters by their names: each ``labelsTr_NAME`` but that of true labels under synthetic noise.

    Raises:
        InputError: a folder cannot be listed, or the names of two cannot be distinguished.
    """
    raters: dict[str, Path] = {}
    first = {confusable(MAIN): MAIN}
    for path in entries(root):
        name = canonical(path.name.removeprefix(RATER))
        if not path.name.startswith(RATER) or not name or is_truth(name) or kind_of(path) == FILE:
            continue
        check_folder_name(path, "annotator", name)
        form = confusable(name)
        if form in first:
            problem = f"names the same annotator as {first[form]}, but for capitals or Unicode form"
            raise InputError(path, problem, "rename one of the folders", code="duplicate")
        first[form], raters[name] = path.name, path
    return raters


def is_truth(rater: str) -> bool:
    """Whether the folder of this name holds the true labels under synthetic noise, which no method may see."""
    return confusable(RATER + rater) == confusable(CLEAN)


def misnamed_folders(root: Path) -> Iterator[InputError]:
    """Folders that are not found, as their names differ from those of images and labels in capitals or blanks."""
    for path in entries(root):
        named = _PART.fullmatch(path.name)
        if named is None or path.name.startswith(_PARTS) or not _is_folder(path):
            continue
        part = f"{named[1].lower()}s{named[2].capitalize()}"
        rest = named[3] or ""
        if not (root / (part + rest)).exists():
            yield InputError(
                path,
                f"is not found under this name, as '{part}' is written otherwise",
                f"rename it {part}{rest}",
                code="invalid-name",
            )


def _refuse_nested(folder: Path, top: Collection[str], problems: list[InputError]) -> None:
    for place, _, files in os.walk(folder):
        nested = sorted(name for name in files if is_image_file(Path(name)) and name not in top)
        if nested:
            remedy = f"move it to {folder.parent}, where files are looked for"
            problems.append(
                InputError(
                    Path(place, nested[0]), "lies in a sub-folder, which is not read", remedy, code="unsupported"
                )
            )
            return


def _remedy_of_stray(path: Path, ending: str, names: Collection[str]) -> str:
    one = meant(path.name, names)
    if one is None:
        return did_you_mean(path.name, [name + ending for name in names]) if names else "add its scan, or remove it"
    verb = "rename it" if path.name.lower().endswith(ending) else "save it as"
    return f"{verb} {one}{ending}, or remove it"


def _loose(form: str) -> str:
    """What names have in common that differ in leading zeros, blanks and signs between words only."""
    return re.sub(r"[\s_.-]+", "_", re.sub(r"0*(\d+)", r"\1", form))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link into a folder that may not be searched
        return False
