"""Which code a result depends on."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

from segmend.data.cache import digest_of
from segmend.methods import Method

_ENGINE = tuple(f"segmend.commands.{name}" for name in ("corrupt", "train", "predict", "evaluate"))
_SHOWS_ONLY = ("segmend.report", "segmend.progress", "segmend.bench")
"""Modules that change what is shown, never what is computed."""


def code_of(method: type[Method]) -> str:
    """A digest of all the code that a result of this method depends on.

    That is the commands that make it, the method's module, and whatever these import, but no other
    method: a new method does not make the results of the others old.
    """
    found: dict[str, Path] = {}
    waiting = [*_ENGINE, method.__module__]
    while waiting:
        name = waiting.pop()
        if name in found or name.startswith(_SHOWS_ONLY) or not (path := _source(name)):
            continue
        found[name] = path
        # The package of methods imports all of them; only what they have in common is followed from there.
        waiting += _imports(path) if name != "segmend.methods" else ["segmend.methods._base"]
    return digest_of(*[part for name in sorted(found) for part in (name, found[name])])


@cache
def _imports(path: Path) -> frozenset[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *[f"{node.module}.{alias.name}" for alias in node.names]}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.startswith("segmend."))


@cache
def _source(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # the name of a class or function in a module
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
