"""Results that were made elsewhere, by their fingerprints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from segmend.bench.unit import Unit, is_summary
from segmend.core.errors import InputError
from segmend.core.tables import write_json, write_table
from segmend.metrics.results import COLUMNS, TEXT

RUNS, RESULTS = "runs.json", "results.csv"
"""The outputs of ``segmend bench`` for finished runs: specification and summary of each; its scores per case."""


@dataclass(frozen=True, eq=False)
class Known:
    """Finished runs of another table.

    Attributes:
        root: the folder that they come from.
        summaries: summary of each run by its fingerprint.
        scores: of all runs, with a column ``fingerprint``; numbers are kept as text, to the last digit.
    """

    root: Path
    summaries: dict[str, dict[str, object]]
    scores: pd.DataFrame

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read ``runs.json`` and ``results.csv`` of ``segmend bench``.

        Raises:
            InputError: the folder does not hold the two, or they do not belong together.
        """
        remedy = f"give a folder with {RUNS} and {RESULTS} of 'segmend bench'"
        try:
            runs = json.loads((root / RUNS).read_text(encoding="utf-8"))
            summaries = {
                str(run["what"]["fingerprint"]): {**run["summary"], "commit": run.get("commit", "")} for run in runs
            }
            scores = pd.read_csv(root / RESULTS, dtype=str, keep_default_na=False)
            lacking = {"fingerprint", *COLUMNS} - set(scores.columns)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(root, f"cannot be read as results ({error})", remedy, code="damaged") from error
        if lacking:
            raise InputError(root / RESULTS, f"lacks the column '{min(lacking)}'", remedy, code="missing-value")
        for fingerprint, summary in summaries.items():
            if not is_summary(summary):
                raise InputError(
                    root / RUNS, f"holds a damaged summary of run {fingerprint}", "bring it over again", code="damaged"
                )
        for fingerprint in summaries.keys() - set(scores["fingerprint"]):
            raise InputError(
                root / RESULTS, f"has no scores of run {fingerprint}", "bring both files over again", code="mismatch"
            )
        _check_scores(root / RESULTS, scores)
        return cls(root, summaries, scores)

    def take_over(self, units: Iterable[Unit]) -> int:
        """Mark units as done that were run elsewhere: same data, noise, arguments, seed and versions, by fingerprint.

        Returns:
            How many runs; those that are done already do not count.
        """
        new = [unit for unit in units if not unit.done and unit.what["fingerprint"] in self.summaries]
        for unit in new:
            fingerprint = unit.what["fingerprint"]
            unit.write()
            own = self.scores["fingerprint"] == fingerprint
            write_table(unit.folder / "scores.csv", self.scores.loc[own, list(COLUMNS)])
            write_json(unit.folder / "result.json", self.summaries[fingerprint])
        return len(new)


def _check_scores(path: Path, scores: pd.DataFrame) -> None:
    """Check that scores are numbers or empty, without duplicates: they become those of units here."""
    for column in (column for column in COLUMNS if column not in TEXT):
        numbers = pd.to_numeric(scores[column].replace("", "nan"), errors="coerce")
        unusable = scores[numbers.isna() & (scores[column] != "") & (scores[column].str.lower() != "nan")]
        if len(unusable):
            problem = f"holds '{unusable[column].iloc[0]}' as {column} of case '{unusable['case'].iloc[0]}'"
            raise InputError(path, problem, "bring it over again", code="invalid-value")
    if scores.duplicated(["fingerprint", "case", "label"]).any():
        raise InputError(path, "holds a score twice", "bring it over again", code="duplicate")
