"""Ways in which folders go wrong. Each changes a copy of a valid folder at random, and says what is to come of it."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fuzz_oracle as oracle
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


Mutation = Callable[[Base, random.Random], Damage]


def _reads(chance: random.Random) -> tuple[str, ...]:
    return ("check", chance.choice(DATA))


def _labelled(base: Base, chance: random.Random) -> tuple[str, Path, Path, bool]:
    """A case, one of its two files, the other one, and whether the first is the label."""
    case, label = chance.choice((*TRAIN, *TEST)), chance.random() < 0.5
    files = (base.label(case), base.image(case))
    return (case, *(files if label else files[::-1]), label)


def _within(base: Base, file: Path) -> str:
    return file.relative_to(base.data).as_posix()


# Bytes


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


def bytes_of_scan(base: Base, chance: random.Random) -> Damage:
    case, file, partner, label = _labelled(base, chance)
    before = shutil.copy(file, base.root / f"before{base.ending}")
    changed, how = damaged_bytes(file.read_bytes(), chance)
    file.write_bytes(changed)
    report = oracle.scan_must_be_reported(Path(before), file, partner, label)
    return Damage("scan bytes", f"{file.name}: {how}", _reads(chance), report, (case,), _within(base, file))


def bytes_within_scan(base: Base, chance: random.Random) -> Damage:
    """Bytes of what is compressed, packed again so that no checksum tells; mostly those of the header."""
    case, file, partner, label = _labelled(base, chance)
    if base.ending != ".nii.gz":
        return bytes_of_scan(base, chance)
    before = shutil.copy(file, base.root / f"before{base.ending}")
    raw = gzip.decompress(file.read_bytes())
    if chance.random() < 0.7:
        at = chance.randrange(352)
        changed, how = raw[:at] + bytes((chance.randrange(256),)) + raw[at + 1 :], f"header byte {at}"
    else:
        changed, how = damaged_bytes(raw, chance)
    file.write_bytes(gzip.compress(changed))
    report = oracle.scan_must_be_reported(Path(before), file, partner, label)
    return Damage("scan header", f"{file.name}: {how}", _reads(chance), report, (case,), _within(base, file))


def claimed_size(base: Base, chance: random.Random) -> Damage:
    """A header that claims far more voxels than there are."""
    case, file, *_ = _labelled(base, chance)
    sides = chance.choice(((2000, 1500, 1000), (30000, 30000, 4), (20000, 20000, 1)))
    if base.ending == ".nii.gz":
        raw = bytearray(gzip.decompress(file.read_bytes()))
        for axis, side in enumerate(sides):
            raw[42 + 2 * axis : 44 + 2 * axis] = side.to_bytes(2, "little")
        file.write_bytes(gzip.compress(bytes(raw)))
    elif base.ending == ".mha":
        head, mark, rest = file.read_bytes().partition(b"DimSize = ")
        text = " ".join(map(str, sides)).encode()
        file.write_bytes(head + mark + text + rest[rest.index(b"\n") :])
    else:
        raw = bytearray(file.read_bytes())
        raw[16:24] = sides[0].to_bytes(4, "big") + sides[1].to_bytes(4, "big")
        file.write_bytes(bytes(raw))
    return Damage(
        "claimed size", f"{file.name}: {sides}", _reads(chance), report=True, mention=(case,), file=_within(base, file)
    )


# The description and the table


def description_structure(base: Base, chance: random.Random) -> Damage:
    path = base.data / "dataset.json"
    content = json.loads(path.read_text())
    key, value = chance.choice(("channel_names", "labels", "file_ending")), chance.choice(ODD_VALUES)
    way = chance.choice(("value", "value", "gone", "inner", "inner", "name", "extra", "form"))
    if way == "value":
        content[key] = value
    elif way == "gone":
        del content[key]
    elif way == "inner":
        inner = content[chance.choice(("channel_names", "labels"))]
        inner[chance.choice([*inner, "x", "1", "5", "9" * 5000])] = value
    elif way == "name":
        name = chance.choice((*ODD_NAMES, *HOSTILE_NAMES))
        content["labels"] = {"background": 0, name: 1}
    elif way == "extra":
        content[chance.choice(("name", "numTraining", "overwrite_image_reader_writer", "licence"))] = value
    text = json.dumps(content)
    if way == "form":
        text = chance.choice(("[" * 20000, "\ufeff" + text, text[:-1], text + text, text.replace('"', "'"), "NaN", ""))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    report = way != "name" and oracle.description_must_be_reported(path)
    return Damage("dataset.json", f"{way} {text:.150}", _reads(chance), report, ("dataset.json",), "dataset.json")


def description_bytes(base: Base, chance: random.Random) -> Damage:
    path = base.data / "dataset.json"
    changed, how = damaged_bytes(path.read_bytes(), chance)
    path.write_bytes(changed)
    report = oracle.description_must_be_reported(path)
    return Damage("dataset.json bytes", how, _reads(chance), report, ("dataset.json",), "dataset.json")


def table_structure(base: Base, chance: random.Random) -> Damage:
    path = base.data / "cases.csv"
    head, *rows = path.read_text().splitlines()
    row = chance.choice(rows)
    other: dict[str, list[str]] = {
        "row twice": [head, *rows, row],
        "unknown case": [head, *rows, "eva,train,noisy,A,"],
        "odd word": [head, *(line.replace("noisy", chance.choice(("Noisy ", "bad", "1"))) for line in rows)],
        "semicolons": [line.replace(",", ";") for line in (head, *rows)],
        "unknown column": [f"{head},age", *(f"{line},7" for line in rows)],
        "no column": [head.replace("case", "id"), *rows],
        "blank lines": [head, "", *rows, ",,,,"],
        "short row": [head, *rows[1:], "anna"],
        "long row": [head, *rows, "anna,train,noisy,A,,,x"],
        "hostile annotator": [head, *(f"{line}{chance.choice(HOSTILE_NAMES)}" for line in rows)],
        "odd annotator": [head, *(f'{line}"{chance.choice(ODD_NAMES)}"' for line in rows)],
        "long annotator": [head, *(f"{line}{'x' * 5000}" for line in rows)],
        "header twice": [head, head, *rows],
        "open quote": [head, f'"{rows[0]}', *rows[1:]],
        "capitals": [head.upper(), *rows],
    }
    way = chance.choice(list(other))
    ends = chance.choice(("\n", "\n", "\r\n"))
    path.write_bytes(ends.join([*other[way], ""]).encode("utf-8", "surrogatepass"))
    kind = chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    if kind != "utf-8" and "hostile" not in way:
        path.write_bytes(path.read_bytes().decode("utf-8").encode(kind))
    forgiven = way in ("blank lines", "capitals") and kind != "utf-16"
    report = not forgiven and "annotator" not in way and oracle.table_must_be_reported(path, (*TRAIN, *TEST))
    return Damage("cases.csv", f"{way}, {kind}", _reads(chance), report, ("cases.csv",), "cases.csv")


def table_bytes(base: Base, chance: random.Random) -> Damage:
    path = base.data / "cases.csv"
    changed, how = damaged_bytes(path.read_bytes(), chance)
    path.write_bytes(changed)
    report = bool(changed) and oracle.table_must_be_reported(path, (*TRAIN, *TEST))
    return Damage("cases.csv bytes", how, _reads(chance), report, ("cases.csv",), "cases.csv")


# Files


def odd_file(base: Base, chance: random.Random) -> Damage:
    """A file that is gone, double, a link, a folder, a pipe, or under another name."""
    case, file, partner, label = _labelled(base, chance)
    if chance.random() < 0.2:
        case, file = "cases.csv", base.data / "cases.csv"
    elsewhere, name = base.root / "elsewhere", _within(base, file)
    elsewhere.mkdir()
    way = chance.choice(
        ("gone", "dangling", "loop", "folder", "pipe", "empty", "link", "other ending", "capitals", "swapped", "double")
    )
    plain, report = file.name.removesuffix(base.ending), way not in ("link",)
    if way == "double":
        shutil.copy(file, file.with_name(f"{plain}{'.nii' if base.ending != '.nii' else '.mha'}"))
    elif way == "swapped" and case != "cases.csv":
        other = elsewhere / file.name
        file.rename(other)
        partner.rename(file)
        other.rename(partner)
    else:
        kept = file.rename(elsewhere / file.name)
        if way == "link":
            file.symlink_to(kept)
        elif way == "dangling":
            file.symlink_to(base.root / "nowhere")
        elif way == "loop":
            file.symlink_to(file)
        elif way == "folder":
            file.mkdir()
        elif way == "pipe":
            os.mkfifo(file)
        elif way == "empty":
            file.touch()
        elif way == "other ending":
            shutil.copy(kept, file.with_name(f"{plain}.nrrd"))
        elif way == "capitals":
            shutil.copy(kept, file.with_name(file.name.upper()))
    if case == "cases.csv":  # a folder needs no table, an empty one is one, and other files are nobody's business
        report = way in ("dangling", "loop", "folder", "pipe")
    elif way == "double":
        report = True
    return Damage(
        "odd file", f"{way} {file.name}", _reads(chance), report, (case, case.upper(), file.parent.name), name
    )


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
    unused = name == "labelsTr_eva" or (name == "labelsTs" and way == "gone")
    report = way != "link" and not unused
    return Damage("odd folder", f"{way} {name}", _reads(chance), report, (name, *TEST), f"{name}/")


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
    return Damage("odd name", repr(name)[:60], _reads(chance), report=False)


# What commands have written


def _own(base: Base, chance: random.Random, kind: str, files: list[Path], reads: str) -> Damage:
    file = chance.choice(files)
    way = chance.choice(("bytes", "bytes", "bytes", "gone", "folder", "structure"))
    if way == "structure" and file.suffix == ".json":
        how, report = _other_entry(file, chance), False
    elif way in ("gone", "folder"):
        file.unlink()
        if way == "folder":
            file.mkdir()
        how, report = way, True
    else:
        changed, how = damaged_bytes(file.read_bytes(), chance)
        file.write_bytes(changed)
        report = oracle.own_file_must_be_reported(file)
    return Damage(kind, f"{file.relative_to(base.root)}: {how}", (reads,), report, (file.name, file.stem))


def _other_entry(file: Path, chance: random.Random) -> str:
    """Something else, or nothing, somewhere in a JSON file; whether it can be known is left open."""
    content = json.loads(file.read_text())
    places = [(tree, key) for tree in _trees(content) for key in (tree if isinstance(tree, dict) else range(len(tree)))]
    tree, key = chance.choice(places)
    if isinstance(tree, dict) and chance.random() < 0.4:
        del tree[key]
    else:
        tree[key] = chance.choice(ODD_VALUES)
    file.write_text(json.dumps(content))
    return f"entry {key}"


def _trees(content: object) -> Iterator[dict | list]:
    if isinstance(content, (dict, list)):
        yield content
        for inner in content.values() if isinstance(content, dict) else content:
            yield from _trees(inner)


def run_files(base: Base, chance: random.Random) -> Damage:
    files = [base.root / "run" / name for name in ("config.yaml", "task.json", "task.json", "checkpoints/last.ckpt")]
    return _own(base, chance, "run", files, "predict")


def audit_files(base: Base, chance: random.Random) -> Damage:
    files = [base.root / "audit" / name for name in ("settings.json", "audit.csv", "audit.json", "regions.csv")]
    proposals = sorted((base.root / "audit" / "proposals").iterdir())
    return _own(base, chance, "audit", [*files, *proposals], "correct")


def decisions(base: Base, chance: random.Random) -> Damage:
    return _own(base, chance, "decisions.csv", [base.root / "decisions.csv"], "correct")


def probabilities(base: Base, chance: random.Random) -> Damage:
    return _own(base, chance, "probabilities", sorted((base.root / "probabilities").iterdir()), "audit")


MUTATIONS: tuple[Mutation, ...] = (
    *(bytes_of_scan, bytes_of_scan, bytes_within_scan, bytes_within_scan, claimed_size),
    *(description_structure, description_structure, description_bytes, table_structure, table_structure, table_bytes),
    *(odd_file, odd_file, odd_folder, odd_case_name, odd_case_name),
    *(run_files, run_files, audit_files, decisions, probabilities),
)
