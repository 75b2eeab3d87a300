from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reviews import SmallAudit

pytest.importorskip("starlette", reason="needs segmend[review]")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of killed servers are kept in a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def make_review_audit(tmp_path: Path) -> Callable[..., SmallAudit]:
    """Makes an audit of some cases."""

    def make(*cases: str, **options: object) -> SmallAudit:
        made = SmallAudit(tmp_path, **options)
        made.add(*(cases or ("a", "b", "c")))
        made.finish()
        return made

    return make
