"""The commit of the running Segmend, recorded for inspection only; no result depends on it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def commit() -> str:
    """The short name of the commit, with a ``+`` if files were changed since; "" outside of a repository of Segmend."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # an environment may lie in a repository of others
        return _git("describe", "--always", "--exclude=*", "--dirty=+")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
