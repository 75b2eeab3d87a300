"""segmend select: the audit that it works on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.audit.folder import AuditFolder
from segmend.core.errors import InputError
from segmend.core.io import check_writable
from segmend.core.paths import FOLDER, kind_of
from segmend.data.folder import DataFolder


class OpenedAudit:
    """An audit that was read, and its data as far as they are needed.

    Args:
        place: the audit.
        table: ``audit.csv``.
        settings: of the audit.
        data: folder that the user names.
        cases: table that the user names.
    """

    def __init__(
        self,
        place: AuditFolder,
        table: pd.DataFrame,
        settings: Mapping[str, Any],
        data: Path | None,
        cases: Path | None,
    ) -> None:
        self.place, self.table, self.settings = place, table, settings
        self._data, self._cases = data, cases

    def folder(self) -> DataFolder | None:
        """The data folder; None if it was moved and not named.

        Raises:
            InputError: it cannot be used.
        """
        recorded = self.settings.get("data")
        root = self._data or (Path(recorded) if isinstance(recorded, str) else None)
        if root is None or (self._data is None and kind_of(root) != FOLDER):
            return None
        return DataFolder.open(root, self._cases)

    def needed_folder(self) -> DataFolder:
        """The data folder.

        Raises:
            InputError: it cannot be used, or is not there.
        """
        folder = self.folder()
        if folder is None:
            problem = f"is needed to compare labels, and {self.settings.get('data')} is not there any more"
            raise InputError("data", problem, "give the folder that was audited", code="missing-value")
        return folder


def check_out(out: Path, *inputs: Path) -> None:
    """Check that a table can be written, before its content is computed.

    Args:
        out: the file.
        inputs: files that are read, and must stay.

    Raises:
        InputError: it cannot.
    """
    if out.suffix != ".csv":
        raise InputError(out, "does not end in .csv", "give it that ending", code="invalid-value")
    if any(out.resolve() == each.resolve() for each in inputs):
        raise InputError(out, "is a table that is read", "name another file by `out`", code="invalid-value")
    check_writable(out)
