"""Ways in which the scans, labels, description and table of a data folder go wrong."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path

import fuzz_oracle as oracle
from fuzz_bases import TEST, TRAIN, Base
from fuzz_damage import HOSTILE_NAMES, ODD_NAMES, ODD_VALUES, Damage, damaged_bytes, labelled, reads, within


def bytes_of_scan(base: Base, chance: random.Random) -> Damage:
    case, file, partner, label = labelled(base, chance)
    before = shutil.copy(file, base.root / f"before{base.ending}")
    changed, how = damaged_bytes(file.read_bytes(), chance)
    file.write_bytes(changed)
    report = oracle.scan_must_be_reported(Path(before), file, partner, label)
    return Damage("scan bytes", f"{file.name}: {how}", reads(chance), report, (case,), within(base, file))


def bytes_within_scan(base: Base, chance: random.Random) -> Damage:
    """Bytes of what is compressed, packed again so that no checksum tells; mostly those of the header."""
    case, file, partner, label = labelled(base, chance)
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
    return Damage("scan header", f"{file.name}: {how}", reads(chance), report, (case,), within(base, file))


def claimed_size(base: Base, chance: random.Random) -> Damage:
    """A header that claims far more voxels than there are."""
    case, file, *_ = labelled(base, chance)
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
        "claimed size", f"{file.name}: {sides}", reads(chance), report=True, mention=(case,), file=within(base, file)
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
    return Damage("dataset.json", f"{way} {text:.150}", reads(chance), report, ("dataset.json",), "dataset.json")


def description_bytes(base: Base, chance: random.Random) -> Damage:
    path = base.data / "dataset.json"
    changed, how = damaged_bytes(path.read_bytes(), chance)
    path.write_bytes(changed)
    report = oracle.description_must_be_reported(path)
    return Damage("dataset.json bytes", how, reads(chance), report, ("dataset.json",), "dataset.json")


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
    return Damage("cases.csv", f"{way}, {kind}", reads(chance), report, ("cases.csv",), "cases.csv")


def table_bytes(base: Base, chance: random.Random) -> Damage:
    path = base.data / "cases.csv"
    changed, how = damaged_bytes(path.read_bytes(), chance)
    path.write_bytes(changed)
    report = bool(changed) and oracle.table_must_be_reported(path, (*TRAIN, *TEST))
    return Damage("cases.csv bytes", how, reads(chance), report, ("cases.csv",), "cases.csv")
