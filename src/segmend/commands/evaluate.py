"""Scores a folder of predictions against a folder of references."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.commands.evaluate_soft import evaluate_soft
from segmend.commands.references import References, read_description_of
from segmend.core.errors import InputError
from segmend.core.folders import check_whole
from segmend.core.io import check_writable
from segmend.core.os_errors import explain_os_errors
from segmend.core.progress import say, track
from segmend.core.tables import aligned, write_json, write_table
from segmend.data.cache import digest_of
from segmend.data.image import read_label
from segmend.metrics.boxplot import draw_boxplot
from segmend.metrics.evaluation import Score, both_empty, score_case
from segmend.metrics.pairs import Pair, pair_files
from segmend.metrics.results import in_words, read_table, summarise, to_table
from segmend.metrics.statistics import compare

Unit = Literal["mm", "voxel"]


def evaluate(
    *,
    predictions: Path,
    references: Path,
    out: Path,
    unit: Unit = "mm",
    tolerance: float = 1.0,
    labels: list[int] | None = None,
    against: Path | None = None,
    soft: bool = False,
) -> pd.DataFrame:
    """Score predictions by overlap and surface distance, case by case and label by label.

    Writes ``FILE.csv`` with a row a case and label, ``FILE.json`` with means and counts, and
    ``FILE_boxplot.png``, and prints the means. Where a dataset.json lies next to the folder of references, labels
    are called by the names in it, labels that are lists of values are scored as regions, and voxels that it calls
    ignored are left out; no more is read of it. Classes that a cases.csv there does not list as annotated in a case
    are not scored in it.

    Args:
        predictions: folder of label files. Those without a reference are listed in ``FILE.json`` and not scored.
        references: folder of label files of the same case names, on the same grids.
        out: the CSV file to write; an older one and what belongs to it is replaced.
        unit: unit of distances and volumes.
        tolerance: distance within which surfaces agree (column ``nsd``), in that unit.
        labels: label values to score; by default all that occur in a file or are named. Not with regions.
        against: CSV file of another evaluation of the same cases, to test whether the two differ; adds
            ``FILE_comparison.csv`` and ``.json``.
        soft: score probability maps against soft references instead: ``predictions`` is then what 'segmend predict
            --probabilities true' wrote, ``references`` the folder 'soft' of a data folder, with maps
            CASE_CLASS.nii.gz. The columns are the Dice over thresholds, calibration error and Brier score
            (docs/soft_labels.md).

    Returns:
        The table as written; NaN where a metric is undefined.

    Raises:
        InputError: a file or folder is missing or unusable, a case has no prediction, or grids differ.

    Example:
        segmend evaluate --predictions predictions --references data/labelsTs --out scores.csv
    """
    _check_arguments(predictions, references, out, unit, tolerance, labels)
    described = read_description_of(references)
    if soft:
        if against:
            problem = "compares tables of class labels"
            raise InputError("against", problem, "leave it out with `soft true`", code="unsupported")
        if described.regions:
            problem = f"scores classes, but the references have the regions {', '.join(described.regions)}"
            raise InputError("soft", problem, "score class labels", code="unsupported")
        names = {value: name for value, name in described.names.items() if not labels or value in labels}
        return evaluate_soft(predictions, references, out, names, unit)
    pairs, extra = pair_files(predictions, references)
    if against:
        _check_comparable(against, out, pairs, unit, tolerance)
    table = _score(pairs, described, labels, unit, tolerance)

    settings = {"predictions": str(predictions), "references": str(references), "unit": unit, "tolerance": tolerance}
    digests = {"reference_digests": _digests(pairs)}
    _remove_parts(out)
    counts = {"cases": len(pairs), "extra_predictions": extra}
    write_table(out, table)
    write_json(out.with_suffix(".json"), settings | digests | counts | summarise(table))
    tables = {out.stem: table}
    compared: list[str] = []
    if against:
        compared = list(_comparison_in_words(_write_comparison(out, against), against))
        tables[against.stem if against.stem != out.stem else str(against)] = read_table(against)
    draw_boxplot(_beside(out, "boxplot.png"), tables, unit)
    for line in (*_in_words(table, unit, extra), *compared, f"scores: {out}"):
        say(line)
    return table


def _in_words(table: pd.DataFrame, unit: Unit, extra: Sequence[str]) -> Iterator[str]:
    """The means of each label in columns, and what was left out."""
    yield from in_words(table, unit)
    if extra:
        more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
        yield f"not scored, as they have no reference: {', '.join(extra[:3])}{more}"


def _score(
    pairs: Sequence[Pair], described: References, labels: list[int] | None, unit: Unit, tolerance: float
) -> pd.DataFrame:
    if labels and described.regions:
        problem = f"cannot be chosen by value, as they are the regions {', '.join(described.regions)}"
        raise InputError("labels", problem, "leave it out, and take the rows that you need", code="mismatch")
    scores: dict[tuple[str, str], Score] = {}
    known = set(described.names)
    for pair in track(pairs, "evaluating cases"):
        prediction, reference, spacing = _read(pair, described.ignore)
        present = _values(prediction) | _values(reference)
        known |= present
        wanted = described.objects({value for value in present if not labels or value in labels})
        unit_spacing = spacing if unit == "mm" else (1.0,) * len(spacing)
        of_case = score_case(pair.case, prediction, reference, wanted, unit_spacing, tolerance)
        scores |= {(pair.case, name): score for name, score in of_case.items()}
    names = described.objects(_values_to_report(known, labels))
    # A label is scored in every case, wherever it was found: only then do all of them have as many rows.
    return to_table(
        scores.get((pair.case, name)) or both_empty(pair.case, name)
        for pair in pairs
        for name in names
        if described.annotates(pair.case, name)
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


def _values_to_report(known: set[int], labels: list[int] | None) -> set[int]:
    if not known:
        raise InputError(
            "references", "hold nothing but background, as do the predictions", "give labels to score", code="no-data"
        )
    for value in labels or ():
        if value not in known:
            # Both masks would be empty in every case, and a slip of the finger be rewarded with a Dice of 1.
            raise InputError(
                "labels",
                f"{value} occurs in no file",
                f"choose from {', '.join(map(str, sorted(known)))}",
                code="unknown-name",
            )
    return set(labels or known)


def _check_arguments(
    predictions: Path, references: Path, out: Path, unit: str, tolerance: float, labels: list[int] | None
) -> None:
    if unit not in ("mm", "voxel"):
        raise InputError("unit", f"is '{unit}'", "give mm or voxel", code="invalid-value")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError("tolerance", f"is {tolerance}", "give a distance of 0 or more", code="invalid-value")
    if labels is not None and (not labels or 0 in labels):
        raise InputError(
            "labels", f"are {labels}", "give label values other than 0, which is the background", code="invalid-value"
        )
    if out.suffix != ".csv":
        raise InputError(
            out, "does not end in .csv", "the table is a CSV file; give it that ending", code="invalid-value"
        )
    with explain_os_errors(out):
        if not out.parent.is_dir():
            raise InputError(out.parent, "is not a folder", "create it first, or write elsewhere", code="missing-file")
    for file in (out, _beside(out, "comparison.json")):
        check_writable(file)
    check_whole(predictions)
    for folder in (predictions, references):
        if out.absolute().parent == folder.absolute():
            raise InputError(
                out,
                "lies among the label files, where its box plot would pass for one",
                "write elsewhere",
                code="invalid-value",
            )


def _check_comparable(against: Path, out: Path, pairs: Sequence[Pair], unit: str, tolerance: float) -> None:
    if against.absolute() == out.absolute():
        raise InputError(
            against, "is the file that `out` would replace", "give `out` another name", code="invalid-value"
        )
    differing = sorted(set(read_table(against)["case"]) ^ {pair.case for pair in pairs})
    if differing:
        raise InputError(
            against,
            f"is of other cases: {len(differing)} are not in both, the first is '{differing[0]}'",
            "compare evaluations of the same references",
            code="mismatch",
        )
    summary = against.with_suffix(".json")
    if summary.is_file():
        try:
            other = json.loads(summary.read_text(encoding="utf-8"))
            theirs, references = (other["unit"], other["tolerance"]), dict(other.get("reference_digests", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                summary, "is not the summary of an evaluation", "evaluate again", code="damaged"
            ) from error
        if theirs != (unit, tolerance):
            raise InputError(
                against,
                f"was made with unit {theirs[0]} and tolerance {theirs[1]}, but now they are {unit} and {tolerance}",
                "evaluate both with the same settings",
                code="mismatch",
            )
        changed = sorted(case for case, digest in _digests(pairs).items() if references.get(case, digest) != digest)
        if changed:
            problem = f"was made with other references of {len(changed)} cases, the first is '{changed[0]}'"
            raise InputError(against, problem, "evaluate both with the same references", code="changed-data")


def _digests(pairs: Sequence[Pair]) -> dict[str, str]:
    """What the references hold, by case: scores of references that have changed since cannot be compared."""
    return {pair.case: digest_of(pair.reference) for pair in pairs}


def _remove_parts(out: Path) -> None:
    """Removes what an earlier evaluation has left next to its table: it would pass for a part of this one."""
    parts = [_beside(out, ending) for ending in ("boxplot.png", "comparison.csv", "comparison.json")]
    with explain_os_errors(out):
        for path in (out.with_suffix(".json"), *parts):
            path.unlink(missing_ok=True)


def _write_comparison(out: Path, against: Path) -> pd.DataFrame:
    """The paired tests of two evaluations, which are written next to the scores."""
    comparison = compare(out, against)
    write_table(_beside(out, "comparison.csv"), comparison)
    # NaN is not JSON: a statistic without enough pairs is null there.
    tests = comparison.astype(object).where(comparison.notna(), None).to_dict("records")
    write_json(_beside(out, "comparison.json"), {"first": str(out), "second": str(against), "tests": tests})
    return comparison


def _comparison_in_words(comparison: pd.DataFrame, against: Path) -> Iterator[str]:
    """How the Dice of each label differs from that of another evaluation."""
    rows = [("label", "Dice", "there", "difference", "p (Wilcoxon)", "cases")]
    for row in comparison[comparison["metric"] == "dice"].to_dict("records"):
        means = (f"{row['mean_first']:.3f}", f"{row['mean_second']:.3f}", f"{row['difference']:+.3f}")
        p = row["p_wilcoxon"]
        stated = "-" if pd.isna(p) else f"{p:.3f}" if p >= 0.001 else "< 0.001"
        rows.append((str(row["label"]), *means, stated, str(row["n"])))
    yield f"against {against}, paired; p values are not corrected for the number of tests:"
    yield from (f"  {line}" for line in aligned(rows))


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}_{ending}")
