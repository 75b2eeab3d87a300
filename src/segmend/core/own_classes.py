"""User-defined classes named by a run: found in source text before any of it is run."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from segmend.core.errors import InputError

_LARGEST_SOURCE = 2**22


def import_declared(path: str) -> None:
    """Import the module of a dotted path if its source declares a class of that name, derived from one of Segmend.

    A run folder may come from somebody else. It can bring no code of its own, and names no module but those that
    are written for Segmend and were installed, or put on PYTHONPATH: of all others nothing is run. The current
    folder does not count, as it may be the one that was sent.

    Args:
        path: module and class.

    Raises:
        InputError: there is such a module, but it cannot be imported.
    """
    module, _, name = path.rpartition(".")
    if not module or module in sys.modules or not all(part.isidentifier() for part in path.split(".")):
        return
    source = _source(module)
    if source is None or name not in _declared(source):
        return
    try:
        importlib.import_module(module)
    except Exception as error:  # code of the user, which may fail in any way
        problem = f"the module '{module}' cannot be imported ({type(error).__name__}: {error})"
        raise InputError(path, problem, "correct it", code="environment") from error


def _source(module: str) -> str | None:
    """Text of a module; none of its packages is run."""
    places: list[str] | None = list(_trusted_places())
    origin = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places) if places else None
        if spec is None:
            return None
        origin, places = spec.origin, list(spec.submodule_search_locations or ())
    file = Path(origin or "")
    if file.suffix != ".py" or not file.is_file() or file.stat().st_size > _LARGEST_SOURCE:
        return None
    return file.read_text(encoding="utf-8", errors="replace")


def _trusted_places() -> Iterator[str]:
    named = {Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place}
    here = Path.cwd()
    for place in sys.path:
        if place and (Path(place).resolve() != here or here in named):
            yield place


def _declared(source: str) -> set[str]:
    """Names of the classes in a source text that are built on classes of Segmend, or on each other."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    known: set[str] = set()
    for node in body:
        if isinstance(node, ast.Import):
            known |= {(each.asname or "segmend") for each in node.names if each.name.partition(".")[0] == "segmend"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "segmend" and not node.level:
            known |= {each.asname or each.name for each in node.names}
    declared: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef) and any(_root(base) in known | declared for base in node.bases):
            declared.add(node.name)
    return declared


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
