"""Scores a folder of predictions against a folder of references."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.data.folder import read_folder
from segmend.data.image import read_label
from segmend.errors import InputError
from segmend.metrics.boxplot import draw_boxplot
from segmend.metrics.evaluation import Score, both_empty, score_case
from segmend.metrics.pairs import Pair, pair_files
from segmend.metrics.results import read_table, summarise, to_table, write_json, write_table
from segmend.metrics.statistics import compare
from segmend.outputs import check_whole, check_writable, writing_to
from segmend.progress import track

Unit = Literal["mm", "voxel"]


@dataclass(frozen=True, slots=True)
class _Classes:
    """What a dataset.json says of the label values; nothing, where there is none."""

    names: dict[int, str] = field(default_factory=dict)
    ignore: int | None = None

    def name(self, value: int) -> str:
        return self.names.get(value, str(value))


def evaluate(
    *,
    predictions: Path,
    references: Path,
    out: Path,
    unit: Unit = "mm",
    tolerance: float = 1.0,
    labels: list[int] | None = None,
    against: Path | None = None,
) -> pd.DataFrame:
    """Scores predictions by overlap and surface distance, case by case and label by label.

    Writes ``FILE.csv`` with a row a case and label, ``FILE.json`` with means and counts, and
    ``FILE_boxplot.png``. Where a dataset.json lies beside the folder of references, labels are called by
    their names, and voxels that it calls ignored are left out.

    Args:
        predictions: folder of label files. Those without a reference are listed in ``FILE.json`` and not scored.
        references: folder of label files of the same case names, on the same grids.
        out: the CSV file to write; an older one is replaced.
        unit: unit of distances and volumes.
        tolerance: distance within which surfaces agree (column ``nsd``), in that unit.
        labels: label values to score; by default all that occur in a file or are named.
        against: CSV file of another evaluation of the same cases, to test whether the two differ; adds
            ``FILE_comparison.csv`` and ``.json``.

    Returns:
        The table as written; NaN where a metric is undefined.

    Raises:
        InputError: a file or folder is missing or unusable, a case has no prediction, or grids differ.

    Example:
        segmend evaluate --predictions predictions --references data/labelsTs --out scores.csv
    """
    _check_arguments(predictions, references, out, unit, tolerance, labels)
    classes = _read_classes(references)
    pairs, extra = pair_files(predictions, references)
    if against:
        _check_comparable(against, out, pairs, unit, tolerance)
    table = _score(pairs, classes, labels, unit, tolerance)

    settings = {"predictions": str(predictions), "references": str(references), "unit": unit, "tolerance": tolerance}
    counts = {"cases": len(pairs), "extra_predictions": extra}
    write_table(out, table)
    write_json(out.with_suffix(".json"), settings | counts | summarise(table))
    tables = {out.stem: table}
    if against:
        _write_comparison(out, against)
        tables[against.stem if against.stem != out.stem else str(against)] = read_table(against)
    draw_boxplot(_beside(out, "boxplot.png"), tables, unit)
    return table


def _score(
    pairs: Sequence[Pair], classes: _Classes, labels: list[int] | None, unit: Unit, tolerance: float
) -> pd.DataFrame:
    scores: dict[tuple[str, int], Score] = {}
    known = set(classes.names)
    for pair in track(pairs, "evaluating cases"):
        prediction, reference, spacing = _read(pair, classes.ignore)
        present = _values(prediction) | _values(reference)
        known |= present
        wanted = {value: classes.name(value) for value in present if not labels or value in labels}
        unit_spacing = spacing if unit == "mm" else (1.0,) * len(spacing)
        of_case = score_case(pair.case, prediction, reference, wanted, unit_spacing, tolerance)
        scores |= {(pair.case, value): score for value, score in of_case.items()}
    values = _values_to_report(known, labels)
    # A label is scored in every case, wherever it was found: only then do all of them have as many rows.
    return to_table(
        scores.get((pair.case, value)) or both_empty(pair.case, classes.name(value))
        for pair in pairs
        for value in values
    )


def _read(
    pair: Pair, ignore: int | None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]], tuple[float, ...]]:
    """Prediction, reference and spacing; background in both where the reference is to be ignored."""
    prediction, _ = read_label(pair.prediction)
    reference, grid = read_label(pair.reference)
    if ignore is not None:
        known = reference != ignore
        prediction, reference = np.where(known, prediction, 0), np.where(known, reference, 0)
    return prediction, reference, grid.spacing


def _values(label: NDArray[np.integer[Any]]) -> set[int]:
    """The values that occur, without the background."""
    return {int(value) for value in pd.unique(label.ravel(order="K"))} - {0}


def _values_to_report(known: set[int], labels: list[int] | None) -> list[int]:
    if not known:
        raise InputError("references", "hold nothing but background, as do the predictions", "give labels to score")
    for value in labels or ():
        if value not in known:
            # Both masks would be empty in every case, and a slip of the finger be rewarded with a Dice of 1.
            raise InputError(
                "labels", f"{value} occurs in no file", f"choose from {', '.join(map(str, sorted(known)))}"
            )
    return sorted(set(labels or known))


def _read_classes(references: Path) -> _Classes:
    root = references.absolute().parent
    if not (root / "dataset.json").is_file():
        return _Classes()
    folder, problems = read_folder(root)
    if folder is None:
        raise problems[0]
    return _Classes({value: name for name, value in folder.labels.items() if value}, folder.ignore)


def _check_arguments(
    predictions: Path, references: Path, out: Path, unit: str, tolerance: float, labels: list[int] | None
) -> None:
    if unit not in ("mm", "voxel"):
        raise InputError("unit", f"is '{unit}'", "give mm or voxel")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError("tolerance", f"is {tolerance}", "give a distance of 0 or more")
    if labels is not None and (not labels or 0 in labels):
        raise InputError("labels", f"are {labels}", "give label values other than 0, which is the background")
    if out.suffix != ".csv":
        raise InputError(out, "does not end in .csv", "the table is a CSV file; give it that ending")
    with writing_to(out):
        if not out.parent.is_dir():
            raise InputError(out.parent, "is not a folder", "create it first, or write elsewhere")
    for file in (out, _beside(out, "comparison.json")):
        check_writable(file)
    check_whole(predictions)
    for folder in (predictions, references):
        if out.absolute().parent == folder.absolute():
            raise InputError(
                out, "lies among the label files, where its box plot would pass for one", "write elsewhere"
            )


def _check_comparable(against: Path, out: Path, pairs: Sequence[Pair], unit: str, tolerance: float) -> None:
    if against.absolute() == out.absolute():
        raise InputError(against, "is the file that --out would replace", "give --out another name")
    differing = sorted(set(read_table(against)["case"]) ^ {pair.case for pair in pairs})
    if differing:
        raise InputError(
            against,
            f"is of other cases: {len(differing)} are not in both, the first is '{differing[0]}'",
            "compare evaluations of the same references",
        )
    summary = against.with_suffix(".json")
    if summary.is_file():
        try:
            other = json.loads(summary.read_text(encoding="utf-8"))
            theirs = other["unit"], other["tolerance"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(summary, "is not the summary of an evaluation", "evaluate again") from error
        if theirs != (unit, tolerance):
            raise InputError(
                against,
                f"was made with unit {theirs[0]} and tolerance {theirs[1]}, but now they are {unit} and {tolerance}",
                "evaluate both alike",
            )


def _write_comparison(out: Path, against: Path) -> None:
    comparison = compare(out, against)
    write_table(_beside(out, "comparison.csv"), comparison)
    # NaN is not JSON: a statistic without enough pairs is null there.
    tests = comparison.astype(object).where(comparison.notna(), None).to_dict("records")
    write_json(_beside(out, "comparison.json"), {"first": str(out), "second": str(against), "tests": tests})


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}_{ending}")
