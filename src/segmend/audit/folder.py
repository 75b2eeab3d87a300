"""The files of an audit."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segmend.core.errors import InputError
from segmend.core.paths import read_json
from segmend.data.names import path_part

PROPOSALS = frozenset(("none", "regions", "shift", "erase", "create"))
"""Possible proposals for a label: no change, changes in regions, a shift of its whole boundary, the removal of a
whole class, or an object of a class that the label does not have."""

_TEXT = frozenset(("case", "label", "reason", "kind", "proposal", "quality", "annotator"))
_OF_REGIONS = ("case", "region", "label", "given", "suggested")
_NEEDED = {"case", "label", "score", "quality", "proposal", "proposal_score"}


@dataclass(frozen=True)
class AuditFolder:
    """An audit folder.

    Attributes:
        root: the folder.
        region: whose proposals and issues are meant, in data with regions; "" in data without.
    """

    root: Path
    region: str = ""

    def of_region(self, region: str) -> AuditFolder:
        """The same folder, for the proposals and issues of a region."""
        return replace(self, region=region)

    @property
    def settings(self) -> Path:
        """Settings of the audit, and digests of the labels at that time."""
        return self.root / "settings.json"

    @property
    def summary(self) -> Path:
        """Source of the evidence, calibration, reference values of each class, and remarks; written last."""
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
        """Findings of the checks without a model."""
        return self.root / "checks.csv"

    @property
    def since(self) -> Path:
        """What has changed since an earlier round."""
        return self.root / "since.csv"

    @property
    def preview(self) -> Path:
        """What 'segmend correct --preview true' has shown last."""
        return self.root / "preview.csv"

    @property
    def judges(self) -> Path:
        """A row for each of several judges and label."""
        return self.root / "judges.csv"

    def judge(self, number: int, case: str) -> Path:
        """Probabilities of a case by one of several judges, counted from 1."""
        return self.root / "judges" / str(number) / f"{case}.npz"

    def evidence(self, case: str) -> Path:
        """Probabilities of a case."""
        return self.root / "evidence" / f"{case}.npz"

    def proposal(self, case: str, ending: str) -> Path:
        """Proposed label of a case; of a region, its proposed mask."""
        return self._of_region("proposals") / f"{case}{ending}"

    def issues(self, case: str, ending: str) -> Path:
        """Issues of a case: 1 where a voxel is flagged, from 2 on the numbers of its regions."""
        return self._of_region("issues") / f"{case}{ending}"

    def _of_region(self, kind: str) -> Path:
        return self.root / kind / path_part(self.region) if self.region else self.root / kind

    def fold(self, number: int) -> Path:
        """Run that judges a fold, counted from 1."""
        return self.root / "folds" / str(number)

    def runs(self) -> list[Path]:
        """Runs of the folds that are there: they may be deleted once they have given their evidence."""
        return sorted(folder for folder in self.root.glob("folds/*") if (folder / "log.csv").is_file())

    def fold_cases(self, number: int) -> Path:
        """Table of cases in which the labels of a fold are hidden."""
        return self.root / "folds" / f"{number}.csv"

    @property
    def mark(self) -> str:
        """Identifier of this audit: decisions about another audit do not apply to this one.

        Raises:
            InputError: the audit is not finished.
        """
        try:
            return hashlib.blake2b(self.labels.read_bytes(), digest_size=8).hexdigest()
        except OSError as error:
            raise self._unfinished(self.labels, error) from error

    def remove_results(self) -> None:
        """Remove tables and page of an earlier audit: an interrupted audit must not pass for a finished one."""
        tables = (self.summary, self.labels, self.regions, self.annotators, self.checks, self.since, self.judges)
        previews = (self.preview, self.preview.with_suffix(".json"))
        for path in (*tables, *previews, self.root / "report.html"):
            path.unlink(missing_ok=True)

    def read_settings(self) -> dict[str, Any]:
        """The settings.

        Raises:
            InputError: they are not there or damaged.
        """
        content = self._read_json(self.settings)
        for name in ("labels", "images", "classes"):
            if not isinstance(content.get(name, {}), dict):
                raise self._damaged(self.settings, f"'{name}' is no JSON object")
        if not all(
            isinstance(digest, str) for name in ("labels", "images") for digest in content.get(name, {}).values()
        ):
            raise self._damaged(self.settings, "a digest is not text")
        return content

    def read_summary(self) -> dict[str, Any]:
        """The summary.

        Raises:
            InputError: it is not there or damaged.
        """
        content = self._read_json(self.summary)
        remarks = content.get("remarks")
        if not isinstance(remarks, list) or not all(isinstance(remark, str) for remark in remarks):
            raise self._damaged(self.summary, "it has no remarks")
        return content

    def read_labels(self) -> pd.DataFrame:
        """``audit.csv``, names as text; an empty number is NaN.

        Raises:
            InputError: it is not there or damaged.
        """
        # All is text at first: a case may be called 'NA' or '007', and a number may be anything.
        try:
            table = pd.read_csv(self.labels, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise self._unfinished(self.labels, error) from error
        missing = _NEEDED - set(table)
        if missing:
            raise self._damaged(self.labels, f"it has no column '{min(missing)}'")
        numbers = [str(column) for column in table if column not in _TEXT]
        try:
            table = table.assign(**{column: _numbers(table[column]) for column in numbers})
        except ValueError as error:
            raise self._damaged(self.labels, str(error)) from error
        for column, empty in (("score", False), ("proposal_score", True)):
            scores = table[column].dropna() if empty else table[column]
            if not scores.between(0, 1).all():
                raise self._damaged(self.labels, f"a '{column}' is not from 0 to 1")
        if not set(table["proposal"]) <= PROPOSALS:
            unknown = min(set(table["proposal"]) - PROPOSALS)
            raise self._damaged(self.labels, f"a proposal is '{unknown}', not one of {', '.join(sorted(PROPOSALS))}")
        if table.duplicated(["case", "label"]).any():
            raise self._damaged(self.labels, "a case has a label twice")
        return table

    def read_regions(self) -> pd.DataFrame:
        """``regions.csv``: ``region`` is a whole number, all else is text.

        Raises:
            InputError: it is not there or damaged.
        """
        try:
            table = pd.read_csv(self.regions, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise self._unfinished(self.regions, error) from error
        missing = next((column for column in _OF_REGIONS if column not in table), None)
        if missing:
            raise self._damaged(self.regions, f"it has no column '{missing}'")
        if not table["region"].str.fullmatch(r"[0-9]{1,3}").all():
            raise self._damaged(self.regions, "a region is no whole number")
        return table.assign(region=table["region"].astype(int))

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            return read_json(path)
        except InputError as error:
            if not path.is_file():
                raise self._unfinished(path, error) from error
            raise self._damaged(path, error.problem) from error

    def _unfinished(self, path: Path, error: Exception) -> InputError:
        problem = f"cannot be read ({error})" if path.is_file() else "does not exist"
        return InputError(
            path, problem, "give the folder that 'segmend audit' writes, and let that finish", code="unfinished"
        )

    def _damaged(self, path: Path, reason: str) -> InputError:
        remedy = (
            "run the same 'segmend audit' again" if path != self.settings else "restore it, or choose another folder"
        )
        return InputError(path, f"cannot be read: it is damaged ({reason})", remedy, code="damaged")


def _numbers(column: pd.Series[str]) -> pd.Series[float]:
    """The numbers in a column; true and false are 1 and 0, as pandas writes them.

    Raises:
        ValueError: a cell is none, or not finite.
    """
    written = {"": math.nan, "True": 1.0, "False": 0.0}
    try:
        numbers = pd.Series([written[cell] if cell in written else float(cell) for cell in column], column.index)
    except ValueError as error:
        raise ValueError(f"'{column.name}' holds something that is no number: {error}") from error
    if np.isinf(numbers).any():
        raise ValueError(f"'{column.name}' holds a number that is not finite")
    return numbers
