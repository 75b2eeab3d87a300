"""Which code a result depends on."""

from __future__ import annotations

import ast
import importlib.util
import io
import tokenize
from functools import cache
from pathlib import Path

from segmend.data.cache import digest_of
from segmend.methods import Method, Supervised

_ENGINE = tuple(f"segmend.commands.{name}" for name in ("corrupt", "train", "predict", "evaluate"))
_MENDING = tuple(f"segmend.commands.{name}" for name in ("audit", "correct"))
_NO_EFFECT = (
    *("segmend.report", "segmend.progress", "segmend.bench", "segmend.metrics.boxplot"),
    "segmend.commands.recommended",
)
"""Modules that change what is shown, or which method is taken if none is named; never what is computed here."""
_CHOICES = {
    "segmend.methods": ("_base",),
    "segmend.networks": ("_base",),
    "segmend.labels.corrupt": ("_base", "_label", "calibrate"),
}
"""Packages that import everything there is to choose from, and what of them everyone uses."""


def code_of(*chosen: type, audited: bool = False) -> str:
    """A digest of all the code that a result depends on.

    That is the commands that make it, the modules of its method, network and noise, and whatever these import; but no
    other method, network or recipe: a new one does not make the results of the others old. Neither do comments,
    docstrings and empty lines.

    Args:
        chosen: the method, the network, noise recipes.
        audited: whether labels are audited and mended first.
    """
    found: dict[str, Path] = {}
    waiting = [*_ENGINE, *(_MENDING if audited else ()), *(cls.__module__ for cls in chosen)]
    if any(issubclass(cls, Method) and cls.labels_unlabelled for cls in chosen):
        waiting.append(Supervised.__module__)
    while waiting:
        name = waiting.pop()
        if name in _CHOICES:
            waiting += [f"{name}.{part}" for part in _CHOICES[name]]
        elif name not in found and not name.startswith(_NO_EFFECT) and (path := _source(name)):
            found[name] = path
            waiting += _imports(path)
    return digest_of(*[part for name in sorted(found) for part in (name, _text(found[name]))])


def effective(source: str) -> str:
    """What of a module's text has any effect: no comments, docstrings or empty lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


@cache
def _text(path: Path) -> str:
    return effective(path.read_text(encoding="utf-8"))


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
