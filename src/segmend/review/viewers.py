"""Cases in ITK-SNAP and 3D Slicer: what these programs are given, and how they are started.

A working copy of the label is made for drawing, so that saving never touches the data. It stays until it is deleted.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from segmend.core.case import Case
from segmend.core.errors import InputError, did_you_mean
from segmend.core.io import atomic_file
from segmend.core.tables import write_json
from segmend.data.image import read_label, write_label
from segmend.data.names import path_part
from segmend.review.colours import class_colours, red_green_blue
from segmend.review.export import FOLDER
from segmend.review.scans import ReviewedScans, label_of

PROGRAMS = {"itksnap": ("itksnap", "ITK-SNAP", "itk-snap"), "slicer": ("Slicer", "slicer")}
"""Names under which the programs may be installed; the first one stands in a command to copy."""

STARTS = ("label", "proposal")
"""What a working copy may begin as."""

_IGNORED_COLOUR = "#808080"
_SCRIPT = "open_in_slicer.py"


@dataclass(frozen=True)
class Prepared:
    """What a viewer is given.

    Attributes:
        words: the command.
        file: the label to draw in and to save.
    """

    words: tuple[str, ...]
    file: Path

    @property
    def command(self) -> str:
        """The command as one types it in a shell."""
        words = [os.fspath(word) for word in self.words]
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)

    def start(self) -> bool:
        """Start the program if it is installed; it goes on when the review has ended.

        Returns:
            Whether it is.

        Raises:
            InputError: it is installed, but cannot be started.
        """
        program = Path(self.words[0])
        if not program.is_absolute():
            return False
        try:
            subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            problem = f"cannot be started ({error.strerror})"
            raise InputError(program, problem, "start it yourself, and open the files", code="environment") from error
        return True


def installed(tool: str) -> str | None:
    """The program behind a name of ``PROGRAMS``, if it is installed.

    Raises:
        InputError: there is no such name.
    """
    if tool not in PROGRAMS:
        raise InputError("tool", f"is '{tool}'", did_you_mean(tool, PROGRAMS), code="unknown-name")
    return next((found for found in map(shutil.which, PROGRAMS[tool]) if found), None)


def edited_file(scans: ReviewedScans, case: Case) -> Path:
    """Where the working copy of a case lies."""
    folder = scans.place.root / FOLDER / "edit" / path_part(case.name)
    return folder / f"edited{scans.folder.file_ending}"


def prepare(scans: ReviewedScans, case: Case, tool: str, start: str = "label") -> Prepared:
    """Write what a viewer needs to show a case: a label to draw in, colours and names.

    Args:
        scans: of the audit.
        case: the case.
        tool: itksnap or slicer.
        start: what the label to draw in begins as, label or proposal. In data with regions it is always the label.

    Raises:
        InputError: there is no such tool, or a file cannot be read or written.
    """
    program = installed(tool) or PROGRAMS[tool][0]
    if start not in STARTS:
        raise InputError("start", f"is '{start}'", did_you_mean(start, STARTS), code="unknown-name")
    scans.grid(case)
    edited = edited_file(scans, case)
    if not edited.is_file():
        source = label_of(case)
        if start == "proposal" and not scans.by_region:
            source = scans.place.proposal(case.name, scans.folder.file_ending)
        write_label(edited, read_label(source)[0], like=label_of(case))
    if tool == "itksnap":
        names = _write_descriptions(edited.with_name("labels.txt"), scans)
        others = [str(image.resolve()) for image in case.images[1:]]
        words = [program, "-g", str(case.images[0].resolve()), "-s", str(edited.resolve()), "-l", str(names.resolve())]
        return Prepared((*words, *(["-o", *others] if others else [])), edited)
    script = _write_script(edited, scans, case)
    return Prepared((program, "--python-script", str(script.resolve())), edited)


def _values(scans: ReviewedScans) -> list[tuple[int, str, str]]:
    """Value in label files, name and colour of each class, and of what is ignored."""
    labels = list(scans.folder.labels.items())[1:]
    found = [(value, name, colour) for (name, value), colour in zip(labels, class_colours(len(labels)), strict=True)]
    ignore = scans.folder.ignore
    return found if ignore is None else [*found, (ignore, "ignore", _IGNORED_COLOUR)]


def _write_descriptions(path: Path, scans: ReviewedScans) -> Path:
    """The label descriptions of ITK-SNAP: value, colour, opacity, two switches for visibility, and name."""
    lines = ["# ITK-SnAP Label Description File", '    0     0    0    0        0  0  0    "Clear Label"']
    for value, name, colour in _values(scans):
        red, green, blue = red_green_blue(colour)
        quoted = name.replace('"', "'")
        lines.append(f'{value:5d} {red:5d}{green:5d}{blue:5d}        1  1  1    "{quoted}"')
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _write_script(edited: Path, scans: ReviewedScans, case: Case) -> Path:
    """The script that 3D Slicer runs, and the description of the case that it reads."""
    segments = [
        {"value": value, "name": name, "colour": [part / 255 for part in red_green_blue(colour)]}
        for value, name, colour in _values(scans)
    ]
    content: dict[str, Any] = {
        "case": case.name,
        "scans": [
            {"name": name, "file": str(image.resolve())}
            for name, image in zip(scans.folder.channel_names, case.images, strict=False)
        ],
        "edited": str(edited.resolve()),
        "segments": segments,
        "label": str(label_of(case).resolve()),
        "proposals": _proposals(edited.parent, scans, case, segments),
    }
    write_json(edited.with_name("case.json"), content)
    script = edited.with_name(_SCRIPT)
    with atomic_file(script) as temporary:
        temporary.write_text(files("segmend.review").joinpath("open_in_slicer.txt").read_text("utf-8"), "utf-8")
    return script


def _proposals(folder: Path, scans: ReviewedScans, case: Case, segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files of the proposed labels with their segments: one, or one for each region."""
    ending = scans.folder.file_ending
    if not scans.by_region:
        file = scans.place.proposal(case.name, ending)
        return [{"name": "proposal", "file": str(file.resolve()), "segments": segments}]
    found = []
    regions = list(scans.folder.regions)
    colours = dict(zip(regions, class_colours(len(regions)), strict=True))
    for region in scans.findings.labels_of[case.name]:
        file = scans.place.of_region(region).proposal(case.name, ending)
        colour = [part / 255 for part in red_green_blue(colours[region])]
        segment = {"value": 1, "name": region, "colour": colour}  # the proposals of regions are masks
        found.append({"name": f"proposal {region}", "file": str(file.resolve()), "segments": [segment]})
    return found
