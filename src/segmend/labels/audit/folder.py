"""The files of an audit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.errors import InputError


@dataclass(frozen=True)
class AuditFolder:
    """An audit folder.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """What was asked for, and digests of the labels at that time."""
        return self.root / "settings.json"

    @property
    def summary(self) -> Path:
        """Where the evidence comes from, calibration, what is usual, and remarks; written last."""
        return self.root / "audit.json"

    @property
    def labels(self) -> Path:
        """A row for each case and label."""
        return self.root / "audit.csv"

    @property
    def regions(self) -> Path:
        """A row for each suspect region."""
        return self.root / "regions.csv"

    @property
    def annotators(self) -> Path:
        """A row for each annotator and label."""
        return self.root / "annotators.csv"

    @property
    def checks(self) -> Path:
        """What was found without any model."""
        return self.root / "checks.csv"

    def evidence(self, case: str) -> Path:
        """Probabilities of a case."""
        return self.root / "evidence" / f"{case}.npz"

    def proposal(self, case: str, ending: str) -> Path:
        """Proposed label of a case."""
        return self.root / "proposals" / f"{case}{ending}"

    def issues(self, case: str, ending: str) -> Path:
        """Issues of a case: 1 where a voxel is doubted, from 2 on the numbers of its regions."""
        return self.root / "issues" / f"{case}{ending}"

    def fold(self, number: int) -> Path:
        """Run that judges a fold, counted from 1."""
        return self.root / "folds" / str(number)

    def fold_cases(self, number: int) -> Path:
        """Table of cases in which the labels of a fold are hidden."""
        return self.root / "folds" / f"{number}.csv"

    @property
    def mark(self) -> str:
        """What this audit is known by: decisions about another one are none about this.

        Raises:
            InputError: the audit is not finished.
        """
        try:
            return hashlib.blake2b(self.labels.read_bytes(), digest_size=8).hexdigest()
        except OSError as error:
            raise self._unfinished(self.labels) from error

    def remove_results(self) -> None:
        """Removes tables and page of an earlier time: an audit that is interrupted must not pass for a finished one."""
        tables = (self.summary, self.labels, self.regions, self.annotators, self.checks)
        for path in (*tables, self.root / "report.html"):
            path.unlink(missing_ok=True)

    def read_settings(self) -> dict[str, Any]:
        """The settings.

        Raises:
            InputError: they are not there or damaged.
        """
        return self._read_json(self.settings)

    def read_summary(self) -> dict[str, Any]:
        """The summary.

        Raises:
            InputError: it is not there or damaged.
        """
        return self._read_json(self.summary)

    def read_labels(self) -> pd.DataFrame:
        """``audit.csv``, names as text.

        Raises:
            InputError: it is not there or damaged.
        """
        text = {"case": str, "label": str, "kind": str, "proposal": str, "quality": str, "annotator": str}
        try:
            empty = {"proposal_score": [""], "undo_mm": [""], "undo_se_mm": [""]}
            table = pd.read_csv(self.labels, dtype=text, keep_default_na=False, na_values=empty)
        except (OSError, ValueError) as error:
            raise self._unfinished(self.labels) from error
        missing = {"case", "label", "score", "quality", "proposal", "proposal_score"} - set(table)
        if missing:
            raise self._unfinished(self.labels)
        return table

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._unfinished(path) from error
        return dict(content)

    def _unfinished(self, path: Path) -> InputError:
        problem = "cannot be read" if path.exists() else "does not exist"
        return InputError(path, problem, "give the --out of 'segmend audit', and let that finish")
