"""Results that were made elsewhere, by their fingerprints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from segmend.bench.unit import Unit
from segmend.errors import InputError
from segmend.metrics.results import COLUMNS, write_json
from segmend.outputs import whole_file

RUNS, RESULTS = "runs.json", "results.csv"
"""What ``segmend bench`` leaves of finished runs: what each was made of and its summary; its scores, case by case."""


def take_over(units: Iterable[Unit], known: Path) -> int:
    """Counts runs as done whose fingerprint another table holds: of the same data, noise, arguments, seed and code.

    Args:
        units: those that are done already stay as they are.
        known: a folder with ``runs.json`` and ``results.csv`` of ``segmend bench``.

    Returns:
        How many were taken over.

    Raises:
        InputError: the folder does not hold the two, or they do not belong together.
    """
    summaries, scores = _read(known)
    taken = 0
    for unit in units:
        fingerprint = unit.what["fingerprint"]
        if unit.done or fingerprint not in summaries:
            continue
        rows = scores[scores["fingerprint"] == fingerprint]
        if rows.empty:
            raise InputError(known / RESULTS, f"has no scores of run {fingerprint}", "bring both files over again")
        unit.write()
        with whole_file(unit.folder / "scores.csv") as file:
            rows[list(COLUMNS)].to_csv(file, index=False)
        write_json(unit.folder / "result.json", summaries[fingerprint])
        taken += 1
    return taken


def _read(known: Path) -> tuple[dict[str, dict[str, object]], pd.DataFrame]:
    remedy = f"give a folder with {RUNS} and {RESULTS} of 'segmend bench'"
    try:
        runs = json.loads((known / RUNS).read_text(encoding="utf-8"))
        summaries = {str(run["what"]["fingerprint"]): dict(run["summary"]) for run in runs}
        # Numbers stay the text that they are, to the last digit.
        scores = pd.read_csv(known / RESULTS, dtype=str, keep_default_na=False)
        missing = {"fingerprint", *COLUMNS} - set(scores.columns)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(known, f"cannot be read as results ({error})", remedy) from error
    if missing:
        raise InputError(known / RESULTS, f"lacks the column '{min(missing)}'", remedy)
    return summaries, scores
