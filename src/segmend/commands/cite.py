"""segmend cite."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from segmend.core.config import name_and_arguments
from segmend.core.errors import InputError, did_you_mean
from segmend.core.values import names_among
from segmend.engine.run import Run


def cite(*, names: Sequence[str] = (), run: Path | None = None) -> list[str]:
    """Print BibTeX entries of methods and networks, or of those that a run used.

    The data set that a run was trained on is for you to add.

    Args:
        names: methods and networks; also given without --names, right behind the command.
        run: a run folder, whose method and network are meant, and what their arguments stand for.

    Returns:
        The entries, each once.

    Raises:
        InputError: nothing is asked for, or no paper is known of a name.

    Example:
        segmend cite PLIL VNet
    """
    if not names and run is None:
        raise InputError(
            "cite", "nothing is asked for", "name methods and networks, or give a `run`", code="missing-value"
        )
    known = citations()
    names = names_among(names, known.keys())
    for name in names:
        if name not in known:
            raise InputError("cite", f"no paper is known of '{name}'", did_you_mean(name, known), code="unknown-name")
    used = [name for name in _used(Run(run)) if name in known] if run else []
    entries = list(dict.fromkeys(known[name] for name in (*names, *used)))
    print("\n\n".join(entries))
    return entries


def citations() -> dict[str, str]:
    """BibTeX entries by the names of classes, and by CLASS-VALUE where an argument's value has a paper of its own."""
    text = (files("segmend.commands") / "citations.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@.*?^\}", text, re.MULTILINE | re.DOTALL)
    return {name: entry for entry in entries for name in re.findall(r"(?:^@\w+\{|ids = \{)([\w-]+)", entry)}


def _used(run: Run) -> Iterator[str]:
    for part in ("method", "network"):
        path, arguments = name_and_arguments(run.config[part], part, where=run.path / "config.yaml")
        name = path.rpartition(".")[2]
        yield name
        for argument, value in arguments.items():
            yield f"{name}-{argument if value is True else value}"
