"""Ways in which files and folders go wrong as a whole."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from fuzz_bases import TEST, TRAIN, Base
from fuzz_damage import ODD_NAMES, Damage, labelled, reads, within

# Files


def odd_file(base: Base, chance: random.Random) -> Damage:
    """A file that is gone, double, a link, a folder, a pipe, or under another name."""
    case, file, partner, _ = labelled(base, chance)
    table = chance.random() < 0.2
    if table:
        case, file = "cases.csv", base.data / "cases.csv"
    name, kept = within(base, file), base.root / "elsewhere" / file.name
    kept.parent.mkdir()
    shutil.copy(file, kept)
    way = chance.choice([*_ODD_FILES, *([] if table else ["swapped"])])
    if way == "swapped":
        shutil.copy(partner, file)
        shutil.copy(kept, partner)
    else:
        _ODD_FILES[way](file, kept)
    # A folder needs no table, an empty one is one, and other files are nobody's business.
    report = way in ("dangling", "loop", "folder", "pipe") if table else way != "link"
    if not table and _without_table(base, chance):  # then a case may have no label
        report = report and (way != "gone" or file == base.image(case))
    return Damage("odd file", f"{way} {name}", reads(chance), report, (case, case.upper(), file.parent.name), name)


def _without_table(base: Base, chance: random.Random) -> bool:
    """Takes the table away half the time: only with it is each label asked for by name."""
    without = chance.random() < 0.5
    if without:
        (base.data / "cases.csv").unlink()
    return without


def _instead(put: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    """Something else in the place of a file."""

    def change(file: Path, kept: Path) -> None:
        file.unlink()
        put(file, kept)

    return change


def _plain(file: Path) -> str:
    return file.name.partition(".")[0]


_ODD_FILES: dict[str, Callable[[Path, Path], object]] = {
    "gone": lambda file, _: file.unlink(),
    "link": _instead(lambda file, kept: file.symlink_to(kept)),
    "dangling": _instead(lambda file, _: file.symlink_to(file.with_name("nowhere"))),
    "loop": _instead(lambda file, _: file.symlink_to(file)),
    "folder": _instead(lambda file, _: file.mkdir()),
    "pipe": _instead(lambda file, _: os.mkfifo(file)),
    "empty": lambda file, _: file.write_bytes(b""),
    "other ending": _instead(lambda file, kept: shutil.copy(kept, file.with_name(f"{_plain(file)}.nrrd"))),
    "capitals": _instead(lambda file, kept: shutil.copy(kept, file.with_name(file.name.upper()))),
    "double": lambda file, kept: shutil.copy(kept, file.with_name(f"{_plain(file)}.nii")),
}
"""By name, what is done to a file, which may be copied from a second place."""


def odd_folder(base: Base, chance: random.Random) -> Damage:
    """A folder of images or labels that is gone, a file, or a link."""
    name = chance.choice(("imagesTr", "labelsTr", "imagesTs", "labelsTs", "labelsTr_eva"))
    way = chance.choice(("gone", "file", "dangling", "link"))
    folder, kept = base.data / name, base.root / f"kept_{name}"
    folder.rename(kept)
    if way == "file":
        folder.touch()
    elif way == "dangling":
        folder.symlink_to(base.root / "nowhere")
    elif way == "link":
        folder.symlink_to(kept, target_is_directory=True)
    alone = _without_table(base, chance)
    unused = name == "labelsTr_eva" or (alone and name == "labelsTr" and way == "gone")
    unused = unused or (name == "labelsTs" and way == "gone")
    report = way != "link" and not unused
    return Damage("odd folder", f"{way} {name}", reads(chance), report, (name, *TEST), f"{name}/")


def odd_case_name(base: Base, chance: random.Random) -> Damage:
    """A case of an odd name, the same everywhere: either it works, or one message says why not."""
    case, name = chance.choice(TRAIN), chance.choice([name for name in ODD_NAMES if "/" not in name])
    try:
        for file in sorted(base.root.rglob(f"{case}*")):
            file.rename(file.with_name(file.name.replace(case, name, 1)))
    except OSError:
        return Damage("odd name", "refused by the file system", ("check",), report=False)
    table = base.data / "cases.csv"
    quoted = '"' + name.replace('"', '""') + '"'
    table.write_text(table.read_text().replace(f"{case},", f"{quoted},"), encoding="utf-8", newline="")
    return Damage("odd name", repr(name)[:60], reads(chance), report=False)
