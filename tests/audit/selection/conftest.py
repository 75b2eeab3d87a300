"""Audits by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from audit_rows import example_row

from segmend.audit.folder import AuditFolder
from segmend.audit.rows import LabelRow
from segmend.core.tables import write_rows


@pytest.fixture
def make_audit(tmp_path: Path) -> Callable[..., AuditFolder]:
    """A finished audit with these rows, without proposals."""

    def make(rows: Iterable[LabelRow], name: str = "audit", **settings: object) -> AuditFolder:
        place = AuditFolder(tmp_path / name)
        place.root.mkdir()
        write_rows(place.labels, LabelRow, list(rows))
        place.settings.write_text(json.dumps(settings), encoding="utf-8")
        place.summary.write_text('{"remarks": []}', encoding="utf-8")
        return place

    return make


@pytest.fixture
def label_row() -> Callable[..., LabelRow]:
    """A row of audit.csv: case, class, expected and attainable Dice."""

    def make(case: str, label: str, expected: float, best: float, **more: object) -> LabelRow:
        return example_row(case=case, label=label, expected_dice=expected, best_dice=best, **more)

    return make
