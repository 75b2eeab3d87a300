"""Partly annotated cases: ACDC as three data sets, each annotated for one class.

Writes four data folders into OUT: ``a``, ``b`` and ``c``, a third of the training patients each, with the labels of
one class; and ``full``, all of them with all labels. ``segmend merge --data OUT/a OUT/b OUT/c --out OUT/merged`` makes
one of the three again. ``background.csv`` is its table of cases without the column ``annotated``: what is not annotated
is taken for background. In ``third.csv``, a table for ``full``, only the volumes of ``a`` have labels. Test cases are
patients 51 to 70, with all labels, in ``OUT/test``.

    python benchmarks/partial_labels/acdc.py ACDC OUT
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label

_LAST_TRAINING_PATIENT = 50
_PARTS = "abc"


def patient_of(case: str) -> int:
    """Number of the patient in a name such as ``patient042_ED``."""
    return int("".join(letter for letter in case.split("_")[0] if letter.isdigit()))


def write_folder(folder: DataFolder, out: Path, cases: list[str], keep: str | None, part: str = "Tr") -> None:
    """Write a data folder of some cases, with the labels of one class or of all."""
    content = json.loads(folder.description)
    if keep is not None:
        content["labels"] = {name: int(name == keep) for name in ("background", keep)}
    for name in (f"images{part}", f"labels{part}"):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for case in folder.cases:
        if case.name not in cases:
            continue
        for image in case.images:
            shutil.copy(image, out / f"images{part}" / image.name)
        assert case.label is not None
        target = out / f"labels{part}" / case.label.name
        if keep is None:
            shutil.copy(case.label, target)
        else:
            values, _ = read_label(case.label)
            write_label(target, (values == folder.labels[keep]).astype(np.uint8), like=case.label)


def expert_table(path: Path, cases: list[str], hidden: Collection[str] = (), split: str = "train") -> None:
    """Write a table in which all labels are expert ones, except hidden ones."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("case", "split", "quality"))
        writer.writerows((case, split, "none" if case in hidden else "expert") for case in cases)


def main(data: Path, out: Path) -> None:
    """Write all folders."""
    folder = DataFolder.open(data)
    names = [case.name for case in folder.cases]
    training = [name for name in names if patient_of(name) <= _LAST_TRAINING_PATIENT]
    classes = list(folder.labels)[1:]
    for number, (part, keep) in enumerate(zip(_PARTS, classes, strict=True)):
        cases = [name for name in training if patient_of(name) % len(_PARTS) == number]
        write_folder(folder, out / part, cases, keep)
        expert_table(out / part / "cases.csv", cases)
    write_folder(folder, out / "full", training, None)
    expert_table(out / "full" / "cases.csv", training)
    expert_table(out / "background.csv", training)
    expert_table(out / "third.csv", training, [name for name in training if patient_of(name) % len(_PARTS)])
    write_folder(folder, out / "test", [name for name in names if name not in training], None, "Ts")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
