"""The protocol of a result: versions of the code that made it, declared where results change, and all of its arguments.

Nothing here depends on names of files, on the order of imports or on the text of Segmend's own code, so modules may be
moved and rewritten as long as results stay the same. The golden tests (tests/golden) verify the versions: they compute
a little of everything, and fail if a result changes while its version does not.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import tokenize
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from segmend.core.config import Configured, plain
from segmend.core.errors import InputError
from segmend.data.cache import digest_of
from segmend.methods import Method, Supervised, all_methods

ENGINE_VERSION = 1
"""Version of what all results go through: noise is put into labels, scans are prepared, batches drawn and varied,
networks trained, scans predicted, predictions scored. Raise it when results change: the golden tests fail until you
do."""

AUDIT_VERSION = 3
"""Version of audit and correction: of the ranks, proposals and corrected labels that given probabilities lead to.
Raise it when they change: the golden tests fail until you do."""

PLANNER_VERSION = 1
"""Version of what a plan chooses where no network is named: spacing, patch, network, augmentation and sampling. Raise
it when another choice is made for the same data and machine."""

RESAMPLING_VERSION = 2
"""Version of how scans and labels are brought to another spacing (1: linear; 2: intensities by cubic splines). Raise it
when it changes. Results that were made at the scans' own spacing do not depend on it."""

_PACKAGE = __name__.partition(".")[0]


def versions_of(
    *chosen: type[Configured],
    arguments: Mapping[str, Any] | None = None,
    audited: bool = False,
    planned: bool = False,
    resampled: bool = False,
) -> dict[str, int | str]:
    """Versions of all that a result depends on, by name.

    Args:
        chosen: the method, the network, noise recipes.
        arguments: of the method, defaults included; methods that they name take part.
        audited: whether labels are audited and corrected first.
        planned: whether a network is planned.
        resampled: whether scans are brought to another spacing.

    Returns:
        A version of ``engine``, perhaps of ``audit``, ``planner`` and ``resampling``, and of each class: for classes of
        users that state none, a digest of the source that they lie in.

    Raises:
        InputError: a class of a user's has neither a version nor a source.
    """
    versions: dict[str, int | str] = {"engine": ENGINE_VERSION}
    if audited:
        versions["audit"] = AUDIT_VERSION
    if planned:
        versions["planner"] = PLANNER_VERSION
    if resampled:
        versions["resampling"] = RESAMPLING_VERSION
    known = all_methods()
    named = [known[value] for value in (arguments or {}).values() if isinstance(value, str) and value in known]
    first: list[type[Configured]] = [
        Supervised for cls in chosen if issubclass(cls, Method) and cls.needs_initial_labels
    ]
    for cls in [*chosen, *named, *first]:
        versions |= dict(_versions(cls))
    return versions


def _versions(cls: type[Configured]) -> Iterator[tuple[str, int | str]]:
    """Of a class and all that it is derived from, up to a class of Segmend, whose version speaks for its own bases."""
    for each in cls.__mro__:
        if not issubclass(each, Configured):
            continue
        if each.__module__.partition(".")[0] == _PACKAGE:
            if not inspect.isabstract(each):
                yield each.__name__, each.protocol_version
            return
        yield f"own {each.__qualname__}", each.__dict__.get("protocol_version") or _source_of(each)


def _source_of(cls: type) -> str:
    try:
        file = inspect.getsourcefile(cls)
        source = Path(str(file)).read_text(encoding="utf-8")
    except (OSError, TypeError) as error:
        raise InputError(
            f"class {cls.__name__}",
            "has no source file that would identify the version behind its results",
            "put it into a file, or state its protocol_version",
            code="environment",
        ) from error
    return digest_of(effective(source))


def effective(source: str) -> str:
    """The part of a module's text that has any effect: no comments, docstrings or empty lines."""
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


def resolved(function: Callable[..., Any], given: Mapping[str, Any], leave_out: Collection[str] = ()) -> dict[str, Any]:
    """All arguments of a function or class as plain data: those given, and the defaults of the others.

    Args:
        function: what takes them.
        given: as a plan has them; parts such as the optimisation as a mapping of their own arguments.
        leave_out: arguments that only count if they are given.

    Returns:
        By name. What is None does not count, and whole numbers are written without a point, so that it does not matter
        whether a plan states a default or leaves it out.
    """
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        default = None if parameter.default is parameter.empty else parameter.default
        value = given.get(name, default)
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            value = dataclasses.asdict(default) | (dict(value) if isinstance(value, Mapping) else {})
        if value is not None and (name in given or name not in leave_out):
            arguments[name] = _canonical(plain(value))
    return arguments


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
