"""One run of a table: train, predict, evaluate. Finished steps are never repeated."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from segmend.bench.building import method_of, train_arguments
from segmend.bench.commit import commit
from segmend.commands.evaluate import evaluate
from segmend.commands.predict import predict
from segmend.commands.train import train
from segmend.core import signals as stopping
from segmend.core.documents import is_number
from segmend.core.errors import InputError
from segmend.core.folders import is_whole, locked_folder
from segmend.core.locks import InUseError
from segmend.core.logs import shown
from segmend.core.tables import write_json
from segmend.data.cache import digest_of
from segmend.metrics import read_table

State = Literal["waiting", "running", "done", "failed"]
BUSY = 75
"""Exit status of a unit that another process is working on."""


@dataclass(frozen=True)
class Unit:
    """One row with one seed on one state of the labels.

    Attributes:
        row: name of the row.
        labels: name of the state of the labels.
        seed: of the training.
        folder: folder of all files of this run.
        what: all that decides the result, as JSON can hold it, with the defaults of all arguments that are left out.
        where: paths of its inputs on this machine.
        given: those parts of it that a plan leaves defaults out of, as the plan has them.
    """

    row: str
    labels: str
    seed: int
    folder: Path
    what: dict[str, Any]
    where: dict[str, str | None]
    given: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        root: Path,
        row: str,
        labels: str,
        seed: int,
        what: dict[str, Any],
        where: dict[str, Any],
        given: dict[str, Any] | None = None,
    ) -> Unit:
        """The unit of a description, in a folder named by it: another description has another folder."""
        what = {**what, "seed": seed}
        mark = digest_of(json.dumps(what, sort_keys=True))
        name = f"{slug(row)}_{slug(labels)}_seed{seed}_{mark[:8]}"
        return cls(row, labels, seed, root / name, {**what, "fingerprint": mark}, where, given or {})

    @classmethod
    def load(cls, folder: Path) -> Unit:
        """The unit that was written into a folder."""
        content = _read_json(folder / "unit.json", "row", "labels", "seed", "what", "where")
        named = {name: content[name] for name in ("row", "labels", "seed", "what", "where")}
        return cls(folder=folder, given=content.get("given", {}), **named)

    def write(self) -> None:
        """Write the description into the folder, for the process that will run it."""
        content = {
            "row": self.row,
            "labels": self.labels,
            "seed": self.seed,
            "what": self.what,
            "where": self.where,
            "given": self.given,
        }
        write_json(self.folder / "unit.json", content)

    @property
    def log(self) -> Path:
        """The log of the unit's process."""
        return self.folder / "log.txt"

    @property
    def done(self) -> bool:
        """Whether its result exists; an unreadable one does not count, and is made again."""
        if not (self.folder / "result.json").is_file():
            return False
        try:
            return isinstance(self.result, dict)
        except InputError:
            return False

    @property
    def steps(self) -> int:
        """Optimiser steps according to its log."""
        try:
            return int(pd.read_csv(self.folder / "run" / "log.csv", usecols=["step"])["step"].iloc[-1])
        except (OSError, ValueError, IndexError):
            return 0

    @property
    def result(self) -> dict[str, Any]:
        """Summary of the finished run, and the commit that it was made with."""
        return _read_json(self.folder / "result.json")

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of the test cases."""
        return read_table(self.folder / "scores.csv")


def execute(unit: Unit) -> None:
    """Train, predict and evaluate, each continued from where it stopped.

    Raises:
        InputError: from any of the three.
    """
    what, where = {**unit.what, **unit.given}, {name: Path(path) if path else None for name, path in unit.where.items()}
    data, images, references = where["data"], where["images"], where["references"]
    assert data
    assert images
    assert references
    run = train(
        data=data,
        cases=where["cases"],
        method=method_of(what["method"], what["arguments"]),
        out=unit.folder / "run",
        seed=unit.seed,
        **train_arguments(what["train"], f"row {unit.row}"),
    )
    predictions = unit.folder / "predictions"
    if not is_whole(predictions):
        checkpoint: Literal["last", "best"] = "last" if what["select"] == "last" else "best"
        predict(run=run.path, images=images, out=predictions, checkpoint=checkpoint, **what["predict"])
    evaluate(predictions=predictions, references=references, out=unit.folder / "scores.csv", **what["evaluate"])
    write_json(unit.folder / "result.json", {**run.summary, "commit": commit()})


def _read_json(file: Path, *names: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        missing = set(names).difference(content)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            file, f"is damaged ({error})", "delete it, and run the same command again", code="damaged"
        ) from error
    if missing or not isinstance(content, dict):
        raise InputError(
            file, "is damaged (it lacks values)", "delete it, and run the same command again", code="damaged"
        )
    return content


def is_summary(content: Mapping[str, Any]) -> bool:
    """Whether this is the summary of a finished run, as far as tables need it."""
    versions, seconds = content.get("versions"), content.get("seconds")
    named = isinstance(content.get("device"), str) and isinstance(versions, dict) and "torch" in versions
    return named and is_number(seconds)


def slug(name: str) -> str:
    """The name as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def main() -> int:
    """Execute the unit whose folder is the only argument, unless another process is working on it."""
    unit = Unit.load(Path(sys.argv[1]))
    try:
        with shown(), stopping.listening(), locked_folder(unit.folder):
            if not unit.done:
                execute(unit)
    except InUseError:
        return BUSY
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except stopping.Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
