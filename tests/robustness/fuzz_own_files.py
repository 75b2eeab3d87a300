"""Ways in which the files go wrong that commands have written, or that people decide and export."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzz_oracle as oracle
import numpy as np
import torch
import yaml
from fuzz_bases import Base
from fuzz_damage import ODD_NAMES, ODD_VALUES, Damage, damaged_bytes

_UNREAD = ("audit.json", "regions.csv", "anna", "carl")
"""Files of an audit that a correction by the decisions of the base folder has no need of."""


def run_files(base: Base, chance: random.Random) -> Damage:
    files = [base.root / "run" / name for name in ("config.yaml", "task.json", "task.json", "checkpoints/last.ckpt")]
    return _damaged(base, chance, "run", files, "predict")


def audit_files(base: Base, chance: random.Random) -> Damage:
    files = [base.root / "audit" / name for name in ("settings.json", "audit.csv", "audit.json", "regions.csv")]
    proposals = sorted((base.root / "audit" / "proposals").iterdir())
    return _damaged(base, chance, "audit", [*files, *proposals], "correct")


def decisions(base: Base, chance: random.Random) -> Damage:
    return _damaged(base, chance, "decisions.csv", [base.root / "decisions.csv"], "correct")


def probabilities(base: Base, chance: random.Random) -> Damage:
    return _damaged(base, chance, "probabilities", sorted((base.root / "probabilities").iterdir()), "audit")


def _damaged(base: Base, chance: random.Random, kind: str, files: list[Path], command: str) -> Damage:
    file = chance.choice(files)
    way = chance.choice(("bytes", "bytes", "structure", "structure", "structure", "gone", "folder"))
    change = _STRUCTURES.get(file.suffix)
    if way == "structure" and change:
        how, report = change(file, chance), False  # whether it can be known depends on what was changed
    elif way in ("gone", "folder"):
        file.unlink()
        if way == "folder":
            file.mkdir()
        how, report = way, True
    else:
        changed, how = damaged_bytes(file.read_bytes(), chance)
        file.write_bytes(changed)
        report = oracle.own_file_must_be_reported(file)
    report = report and not file.name.startswith(_UNREAD)
    return Damage(kind, f"{file.relative_to(base.root)}: {how}", (command,), report, (file.name, file.stem))


def _other_entry(content: object, chance: random.Random) -> str:
    """Something else, or nothing, somewhere in a tree."""
    places = [(tree, key) for tree in _trees(content) for key in (tree if isinstance(tree, dict) else range(len(tree)))]
    tree, key = chance.choice(places)
    if isinstance(tree, dict) and chance.random() < 0.4:
        del tree[key]
        return f"no {key}"
    tree[key] = chance.choice(ODD_VALUES)
    return f"{key} is {tree[key]!r:.40}"


def _trees(content: object) -> Iterator[dict | list]:
    if isinstance(content, (dict, list)):
        yield content
        for inner in content.values() if isinstance(content, dict) else content:
            yield from _trees(inner)


def _json(file: Path, chance: random.Random) -> str:
    content = json.loads(file.read_text())
    how = _other_entry(content, chance)
    file.write_text(json.dumps(content))
    return how


def _yaml(file: Path, chance: random.Random) -> str:
    content = yaml.safe_load(file.read_text())
    how = _other_entry(content, chance)
    file.write_text(yaml.safe_dump(content))
    return how


def _checkpoint(file: Path, chance: random.Random) -> str:
    content = torch.load(file, weights_only=False)
    key = chance.choice([*content, "state_dict"])
    if chance.random() < 0.5:
        del content[key]
        how = f"no {key}"
    else:
        weights = content["state_dict"]
        name = chance.choice(list(weights))
        other = (weights[name] * float("nan"), weights[name][..., None], None, "text")
        weights[name] = chance.choice(other)
        how = f"weights {name}"
    torch.save(content, file)
    return how


def _packed(file: Path, chance: random.Random) -> str:
    array = np.load(file)["probabilities"]
    ways: dict[str, dict[str, object]] = {
        "other name": {"softmax": array},
        "NaN": {"probabilities": array * np.nan},
        "above one": {"probabilities": array * 5},
        "negative": {"probabilities": array - 1},
        "text": {"probabilities": array.astype("<U4")},
        "objects": {"probabilities": np.array([{"a": 1}], dtype=object)},
        "one class": {"probabilities": array[:1]},
        "cut": {"probabilities": array[..., :-1]},
        "no array": {},
        "complex": {"probabilities": array.astype(complex)},
        "empty": {"probabilities": array[:0]},
    }
    how = chance.choice(list(ways))
    np.savez_compressed(file, **ways[how])  # type: ignore[arg-type]
    return how


def _table(file: Path, chance: random.Random) -> str:
    rows = list(csv.reader(file.read_text().splitlines()))
    row = chance.choice(rows)
    at = chance.randrange(len(row))
    row[at] = chance.choice((*ODD_NAMES, "", "nan", "-1", "1e999", "\0"))
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return f"cell {at} of {rows.index(row)} is {row[at]!r}"


_STRUCTURES: dict[str, Callable[[Path, random.Random], str]] = {
    ".json": _json,
    ".yaml": _yaml,
    ".ckpt": _checkpoint,
    ".npz": _packed,
    ".csv": _table,
}
"""By the ending of a file, what changes something in it that can still be read."""
