"""What all imports write in the same way: the description of a data folder, and files that stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.paths import is_folder
from segmend.core.tables import write_json
from segmend.data.copying import link
from segmend.data.description import FILE
from segmend.data.names import clashes

IMAGES, LABELS = "images", "labels"
"""How the folders of scans and labels begin; ``Tr`` or ``Ts`` follows."""

_KEPT = ("name", "description", "reference", "licence", "license", "release")
"""Texts about a data set that are taken over from its own description."""


@dataclass(frozen=True)
class Place:
    """The files of a case in a data folder that is being written.

    Attributes:
        root: the data folder.
        name: of the case.
        part: ``Tr`` or ``Ts``.
        ending: of all files.
    """

    root: Path
    name: str
    part: str
    ending: str

    def image(self, channel: int) -> Path:
        """The file of a channel."""
        return self._made(IMAGES) / f"{self.name}_{channel:04d}{self.ending}"

    @property
    def label(self) -> Path:
        """The label."""
        return self._made(LABELS) / f"{self.name}{self.ending}"

    def link_image(self, file: Path, channel: int = 0) -> None:
        """Give a channel the bytes of a file: a hard link where the file system allows it."""
        link(file, self.image(channel))

    def copy_label(self, file: Path) -> None:
        """Give the case a copy of a label: people edit labels, which would reach the original through a link."""
        shutil.copyfile(file, self.label)

    def _made(self, folder: str) -> Path:
        path = self.root / f"{folder}{self.part}"
        path.mkdir(exist_ok=True)
        return path


def require_apart(out: Path, *data: Path) -> None:
    """Check that folders to read are there, and that the one to write is empty and lies in none of them.

    Raises:
        InputError: it is not so.
    """
    for each in data:
        if not is_folder(each):
            raise InputError(each, "is not a folder", "give the folder of a data set", code="missing-file")
        if out.resolve().is_relative_to(each.resolve()):
            raise InputError(
                out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
            )
    require_empty(out)


def check_case_names(names: Sequence[tuple[object, str]]) -> Iterator[InputError]:
    """Names of cases that some file system takes for one.

    Args:
        names: where each case comes from, and its name.
    """
    where = {name: place for place, name in names}
    if len(where) < len(names):
        seen: set[str] = set()
        for place, name in names:
            if name in seen:
                yield InputError(place, f"is the case '{name}', which is there twice", "rename one", code="duplicate")
            seen.add(name)
    for one, other in clashes(where):
        problem = f"is the case '{other}', which differs from '{one}' in capitals only"
        yield InputError(where[other], problem, "rename one of the two", code="duplicate")


@contextmanager
def data_folder(out: Path) -> Iterator[Path]:
    """Provide a folder to fill that becomes ``out`` when it is whole; its folder of training scans is there already.

    Raises:
        InputError: as ``atomic_folder``.
    """
    with atomic_folder(out) as folder:
        (folder / f"{IMAGES}Tr").mkdir()
        yield folder


def write_description(
    folder: Path,
    *,
    channels: Sequence[str],
    labels: Mapping[str, int],
    training: int,
    ending: str,
    about: Mapping[str, Any],
) -> None:
    """Write ``dataset.json``, which nnU-Net reads too.

    Args:
        folder: of the data set.
        channels: names, in the order of the file suffixes.
        labels: class name to value.
        training: number of cases in ``imagesTr``.
        ending: of all files.
        about: texts about the data set by name; other entries are left out.
    """
    content: dict[str, Any] = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": dict(labels),
        "numTraining": training,
        "file_ending": ending,
    }
    content |= {key: about[key] for key in _KEPT if isinstance(about.get(key), str) and about[key].strip()}
    write_json(folder / FILE, content)
