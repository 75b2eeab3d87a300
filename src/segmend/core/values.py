"""Values of arguments as users write them, parsed and described by the types of their parameters."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

_BETWEEN_NUMBERS = re.compile(r"\s*[,;x\u00d7]\s*|\s+")
_BETWEEN_NAMES = re.compile(r"\s*[,;]\s*|\s+")
_PLAIN = re.compile(r"-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
"""Numbers that every YAML parser reads in the same way; others, such as 016, are rewritten."""
_LARGEST = 2**63
"""Whole numbers below it fit what computes with them."""
_SWITCH = {"true": "true", "yes": "true", "on": "true", "1": "true"} | dict.fromkeys(
    ("false", "no", "off", "0"), "false"
)
_OPENING = ("[", "(", "{")
_LISTS: tuple[Any, ...] = (Sequence, list, tuple)
_TEXTS: tuple[Any, ...] = (str, Path)
_WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "values true or false"),
    str: ("a name", "names"),
    Path: ("a file or folder", "files or folders"),
}
_EXAMPLES: dict[Any, tuple[str, str]] = {
    int: ("1", "16 16 16"),
    float: ("0.5", "1.0 1.0 1.5"),
    bool: ("true", "true false"),
    str: ("NAME", "A B"),
    Path: ("FILE", "FILE_1 FILE_2"),
}


def canonical(words: Sequence[str], kind: Any) -> str:
    """The words behind an option as one text that YAML reads as a value of this type.

    Lists may be written ``16 16 16``, ``16,16,16``, ``"16 16 16"``, ``16x16x16`` or ``[16, 16, 16]``; names and files
    in them are text, whatever YAML takes them for.

    Raises:
        ValueError: they do not fit the type.
    """
    if words and words[0].startswith(_OPENING):
        words = [" ".join(words)]  # a shell takes [16, 16, 16] apart
    alternatives = _alternatives(kind)
    for alternative in alternatives:
        try:
            text, items = _read(words, alternative)
        except (ValueError, OverflowError, RecursionError):
            continue
        single_name = items == 1 and not words[0].startswith("[") and any(text in alternatives for text in _TEXTS)
        if not single_name:
            return text
    raise ValueError(f"{' '.join(words)} is not {described(kind)}")


def names_among(given: Iterable[str], known: Collection[str]) -> list[str]:
    """Names one by one, where ``a,b`` or ``"a b"`` may stand for several.

    Args:
        given: the names. One that is known is left whole, whatever it holds.
        known: all names that there are.
    """
    names: list[str] = []
    for name in map(str, given):
        parts = [part for part in _BETWEEN_NAMES.split(name) if part]
        names += parts if name not in known and parts and (("," in name) or set(parts) <= set(known)) else [name]
    return names


def described(kind: Any) -> str:
    """What a value of this type is, as in 'must be ...'."""
    return _either(part for alternative in _alternatives(kind) for part in _names(alternative))


def example(kind: Any) -> str:
    """A value of this type; empty where there is none that would help."""
    for alternative in reversed(_alternatives(kind)):
        if get_origin(alternative) is Literal:
            continue
        several = _item(alternative)
        found = _EXAMPLES.get(alternative if several is None else several)
        if found:
            return found[several is not None]
    return ""


def takes_several(kind: Any) -> bool:
    """Whether a value of this type may be a list."""
    return any(_item(alternative) is not None for alternative in _alternatives(kind))


def choices(kind: Any) -> list[str]:
    """The words that this type names one by one."""
    return [str(choice) for part in _alternatives(kind) if get_origin(part) is Literal for choice in get_args(part)]


def _alternatives(kind: Any) -> list[Any]:
    """The types that a union joins, those first that fewer words fit."""
    if get_origin(kind) not in (Union, UnionType):
        return [kind]
    return sorted(get_args(kind), key=_rank)


def _rank(kind: Any) -> int:
    if kind is NoneType or get_origin(kind) is Literal:
        return 0
    return 1 if kind in (bool, int, float) else 3 if kind in _TEXTS else 2


def _read(words: Sequence[str], kind: Any) -> tuple[str, int | None]:
    """A value as text, and the number of items if it is a list. A type that is not known takes anything."""
    item, origin = _item(kind), _origin(kind)
    if item is not None:
        items = _items(words, item)
        return f"[{', '.join(items) if item in _TEXTS else ','.join(items)}]", len(items)
    if kind is Any and len(words) > 1:
        return f"[{','.join(words)}]", len(words)
    if origin in (dict, Mapping):
        if len(words) != 1 or not isinstance(_tree(words[0]), dict):
            raise ValueError
        return words[0], None
    if len(words) != 1:
        raise ValueError
    return _scalar(words[0], kind), None


def _scalar(word: str, kind: Any) -> str:
    if kind is NoneType:
        fits = word.lower() in ("null", "none")
        word = "null"
    elif get_origin(kind) is Literal:
        fits = word in map(str, get_args(kind))
    elif kind is bool:
        fits, word = word.lower() in _SWITCH, _SWITCH.get(word.lower(), word)
    elif kind is int:
        number = _whole(word)
        fits, word = abs(number) < _LARGEST, str(number)
    elif kind is float:
        value = float(word)
        fits = not math.isnan(value)
        word = word if _PLAIN.fullmatch(word) else repr(value).replace("inf", ".inf")
    else:
        fits = bool(word)
    if not fits:
        raise ValueError
    return word


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        number = float(word)  # 1e3 and 16.0 are whole numbers, too
        if not number.is_integer():
            raise
        return int(number)


def _origin(kind: Any) -> Any:
    """The type without its parameters."""
    return get_origin(kind) or kind


def _item(kind: Any) -> Any:
    """The type of what a list holds; None for what is no list."""
    if _origin(kind) not in _LISTS:
        return None
    return next(iter(get_args(kind)), Any)


def _items(words: Sequence[str], kind: Any) -> list[str]:
    bracketed = len(words) == 1 and words[0].startswith(("[", "("))
    found: Sequence[Any] = words
    if bracketed:
        found = _tree("[" + words[0].strip()[1:-1] + "]") if words[0].strip().endswith(("]", ")")) else []
        if not found and re.sub(r"\s", "", words[0]) not in ("[]", "()"):
            raise ValueError
    if not all(isinstance(item, str) for item in found):  # lists of lists and the like are left to their readers
        return [json.dumps(item) if isinstance(item, str) else _nested(item) for item in found]
    if kind in _TEXTS:
        return [json.dumps(name) for item in found for name in ([item] if bracketed else _files(item, kind))]
    between = _BETWEEN_NUMBERS if kind in (int, float) else _BETWEEN_NAMES
    parts = [part for item in found for part in between.split(item.strip().rstrip(",;"))]
    return [canonical([part], kind) for part in parts]


def _files(word: str, kind: Any) -> list[str]:
    """One name, which may hold commas, or several files between commas."""
    if kind is str or "," not in word or Path(word).exists():
        return [word]
    return [name.strip() for name in word.split(",") if name.strip()]


def _nested(tree: Any) -> str:
    """A tree of texts in YAML's short form, where numbers stay numbers."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_nested(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_nested, tree)) + "]"
    return str(tree)


def _tree(text: str) -> Any:
    try:
        return yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError from error


def _names(kind: Any) -> list[str]:
    """Names of the alternatives of a type."""
    if kind is NoneType:
        return []
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    item = _item(kind)
    if item is not None:
        return [_WORDS[item][1] if item in _WORDS else "a list"]
    return [_WORDS[kind][0] if kind in _WORDS else "a value"]


def _either(parts: Iterable[str]) -> str:
    *others, last = dict.fromkeys(parts)
    return f"{', '.join(others)} or {last}" if others else last
