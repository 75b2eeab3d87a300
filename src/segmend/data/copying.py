"""A copy of a data folder, for commands that change labels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from segmend.core.case import Case
from segmend.core.errors import InputError


def copy_files(data: Path, copy: Path, cases: Iterable[Case]) -> None:
    """Put the images and labels of a data folder into another one.

    Images become hard links where the file system allows it, and must never be opened for writing. Labels
    are copied: people edit them, and an edit in place would reach the original through a link.

    Args:
        data: the data folder.
        copy: an empty folder.
        cases: those of the data folder; every file of them must be copied.

    Raises:
        InputError: a file of a case has gone since the folder was opened.
    """
    for source in sorted(data.iterdir()):
        if source.is_dir() and source.name.startswith(("imagesTr", "imagesTs", "labelsTr", "labelsTs")):
            (copy / source.name).mkdir()
            for file in sorted(source.iterdir()):
                if file.is_file() and not file.name.startswith("."):
                    put = link if source.name.startswith("images") else shutil.copyfile
                    put(file, copy / source.name / file.name)
    for file in (file for case in cases for file in (*case.images, case.label) if file):
        if file.is_relative_to(data) and not (copy / file.relative_to(data)).is_file():
            raise InputError(
                file,
                "is no longer there",
                "restore it, and leave the data alone while they are copied",
                code="changed-data",
            )


def link(file: Path, place: Path) -> None:
    """A hard link to a file where the file system allows it, a copy elsewhere."""
    try:
        os.link(file.resolve(), place)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, place)
