"""The types required of the values of a plan, checked before anything is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser

from segmend.bench.lines import Document
from segmend.core.config import plain
from segmend.core.documents import Place
from segmend.core.errors import InputError

_TEXT, _NAMES, _MAPPING = "text", "a list of texts", "a mapping"
_TOP: Mapping[str, str] = {
    **dict.fromkeys(("title", "base", "baseline", "select"), _TEXT),
    **dict.fromkeys(("data", "labels", "train", "rows", "predict", "evaluate", "published"), _MAPPING),
    "metrics": _NAMES,
    "seeds": "a list of whole numbers",
}
_LABELS: Mapping[str, str] = {
    **dict.fromkeys(("cases", "recipe"), _TEXT),
    **dict.fromkeys(("arguments", "correct"), _MAPPING),
    "audit": "a mapping or nothing",
    "published": _NAMES,
}
_ROW: Mapping[str, str] = {
    **dict.fromkeys(("method", "published"), _TEXT),
    **dict.fromkeys(("arguments", "train", "batch"), _MAPPING),
    "labels": _NAMES,
}
_DATA: Mapping[str, str] = {"name": _TEXT, "source": _TEXT, "train": "a whole number", "test": "a whole number"}
_PUBLISHED: Mapping[str, str] = {"paper": _TEXT, "table": _TEXT, "metrics": _MAPPING}
_BY_NAME = {"method", "network", "recipe", "arguments"}
"""Arguments that a plan gives in its own form."""


def check_kinds(document: Document) -> None:
    """Check that every part of a plan has the required type.

    Raises:
        InputError: one is not.
    """
    content = document.content
    _check(document, (), _TOP)
    _check(document, ("data",), _DATA)
    _check(document, ("published",), _PUBLISHED)
    for part, of_each in (("labels", _LABELS), ("rows", _ROW)):
        for name, each in content.get(part, {}).items():
            if not isinstance(each, dict):
                raise InputError(
                    document.where((part, name)),
                    f"'{name}' is not a mapping",
                    "write 'key: value' lines below it",
                    code="invalid-value",
                )
            _check(document, (part, name), of_each)


def check_arguments(document: Document, place: Place, command: Callable[..., Any], names: Iterable[str]) -> None:
    """Check that arguments of a command have the types that it takes.

    Args:
        document: the plan.
        place: of the mapping that holds them.
        command: the command.
        names: which of them to check.

    Raises:
        InputError: one is not.
    """
    given: Any = document.content
    for key in place:
        given = given.get(key) or {}
    parameters = inspect.signature(command, eval_str=True).parameters
    for name in names:
        if name in given and name not in _BY_NAME and not _fits(parameters[name].annotation, given[name]):
            problem = f"'{name}' cannot be {given[name]!r}"
            remedy = f"give what 'segmend {command.__name__} --help' says"
            raise InputError(document.where((*place, name)), problem, remedy, code="unknown-name")


def _check(document: Document, place: Place, kinds: Mapping[str, str]) -> None:
    content: Any = document.content
    for key in place:
        content = content.get(key, {})
    for name, value in content.items():
        if name in kinds and not _IS[kinds[name]](value):
            problem = f"'{name}' must be {kinds[name]}, got {value!r}"
            raise InputError(document.where((*place, name)), problem, "correct it", code="invalid-value")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_IS: Mapping[str, Callable[[Any], bool]] = {
    _TEXT: lambda value: isinstance(value, str),
    _MAPPING: lambda value: isinstance(value, dict),
    "a mapping or nothing": lambda value: value is None or isinstance(value, dict),
    _NAMES: lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "a whole number": _is_whole,
    "a list of whole numbers": lambda value: isinstance(value, list) and all(map(_is_whole, value)),
}


def _fits(kind: Any, value: Any) -> bool:
    """Whether a plain value is one of a type, as the command line understands types."""
    if is_dataclass(kind) and isinstance(kind, type):
        types = get_type_hints(kind)
        known = {field.name for field in fields(kind)}
        return isinstance(value, dict) and all(
            name not in known or _fits(types[name], each) for name, each in value.items()
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    try:
        parsed = parser.parse_object({"value": value}, defaults=False, env=False)
    except Exception:  # values that the parser does not accept
        return False
    # What would have to be changed first, such as a number given as text, is not of the type.
    return bool(plain(parsed["value"]) == value)
