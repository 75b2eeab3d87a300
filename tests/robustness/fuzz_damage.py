"""What is done to a folder, and what is to come of it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from fuzz_bases import TEST, TRAIN, Base

DATA = ("train", "corrupt", "fuse", "predict", "evaluate", "audit")
"""Commands besides 'check' that read data folders."""

READ_BY = {
    "train": ("dataset.json", "cases.csv", "imagesTr/", "labelsTr/"),
    "corrupt": ("dataset.json", "cases.csv", "labelsTr/"),
    "fuse": ("dataset.json", "cases.csv", "labelsTr"),
    "predict": ("imagesTr",),
    "evaluate": ("labelsTr",),
    "audit": ("dataset.json", "cases.csv", "imagesTr/", "labelsTr/"),
}
"""Beginnings of the files of a data folder that commands read; others read all of it."""
ODD_VALUES = (None, 0, -1, 1.5, True, [], {}, [1, 2], {"0": {}}, "", "x" * 1000, 1e308, "nan", [[[]]])
ODD_NAMES = (
    *("two words", "it's", 'quo"te', "100%", "a#b", "a?b=c&d", "$x_1$", "<script>alert(1)</script>", "</script>"),
    *("<!--", "[red]x[/red]", "a\x1b[2Jb", "a\x07", "a\rb", "a\nb", "\u202egnp", "日本", "Mu\u0308ller", "Müller"),
    *("-x", "--out", ".x.", "x" * 180, "a|b", "a,b", "a;b", "=1+1", "NA", "007", "null", "a\u2028b", "{{7*7}}", "a\\b"),
)
HOSTILE_NAMES = ("../victim", "a/b", "x/../../victim", "..", "a\0b", "\ud800", "C:\\x")
"""They may be refused or written in another way; that nothing is written elsewhere is looked at in any case."""


@dataclass(frozen=True)
class Damage:
    """What was done to a folder.

    Attributes:
        kind: of damage, a line of the summary.
        what: in words.
        reads: the commands to try.
        report: whether a command that ends well must say something of it.
        mention: words, one of which says so.
        file: what was damaged, in the data folder; commands that do not read it need not speak of it.
    """

    kind: str
    what: str
    reads: tuple[str, ...]
    report: bool
    mention: tuple[str, ...] = ()
    file: str = ""

    def must_be_reported_by(self, command: str) -> bool:
        """Whether that command cannot end well without a word."""
        read = READ_BY.get(command)
        return self.report and (not self.file or read is None or self.file.startswith(read))


def reads(chance: random.Random) -> tuple[str, ...]:
    return ("check", chance.choice(DATA))


def labelled(base: Base, chance: random.Random) -> tuple[str, Path, Path, bool]:
    """A case, one of its two files, the other one, and whether the first is the label."""
    case, label = chance.choice((*TRAIN, *TEST)), chance.random() < 0.5
    files = (base.label(case), base.image(case))
    return (case, *(files if label else files[::-1]), label)


def within(base: Base, file: Path) -> str:
    return file.relative_to(base.data).as_posix()


def damaged_bytes(raw: bytes, chance: random.Random) -> tuple[bytes, str]:
    """A few bytes other than they were, or fewer, or more."""
    at, count = chance.randrange(len(raw)), chance.choice((1, 1, 1, 4, 64))
    way = chance.choice(("flipped", "cut", "zeros", "appended", "repeated", "empty"))
    changed = {
        "flipped": raw[:at]
        + bytes(byte ^ (1 << chance.randrange(8)) for byte in raw[at : at + count])
        + raw[at + count :],
        "cut": raw[:at],
        "zeros": raw[:at] + bytes(len(raw[at : at + count])) + raw[at + count :],
        "appended": raw + bytes(chance.randrange(256) for _ in range(count)),
        "repeated": raw[:at] + raw[at : at + count] + raw[at:],
        "empty": b"",
    }
    return changed[way], f"{way} at {at}, {count} bytes"
