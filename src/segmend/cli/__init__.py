"""The command line: spellings of arguments, help, messages and exit codes."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; see ``segmend.cli.app.main``. Nothing else is imported before it listens to signals."""
    from segmend.cli.app import main as run

    return run(arguments)
