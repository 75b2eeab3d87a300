"""The words of a command line, as people write them, turned into what jsonargparse reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from segmend.cli.names import flag_of
from segmend.cli.parameters import CHOOSING, chosen_class, default_class, grouped, kinds_of, kinds_of_class
from segmend.core.values import canonical


def normalised(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """The same arguments in the one form that jsonargparse understands.

    ``--seed=1`` becomes two words, ``--json`` gets its value true, ``--patch 64 64 48`` becomes a list,
    ``--network.width 8`` gets the default network's name before it, and a configuration file comes first, so that
    arguments given with it win wherever they stand. What does not fit its parameter stays as it is.

    Args:
        given: what stands behind the name of the command.
        command: its function; the types of its parameters decide.
    """
    before, options = grouped(given)
    options = _with_defaults(_config_first(options), command)
    kinds = _kinds(command, _joined(options))
    return [*before, *_joined((option, _value(words, kinds.get(option, Any))) for option, words in options)]


def in_python(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """The words with options that are keywords of Python as the function has them: ``--from_`` for ``--from``."""
    renamed = {flag_of(name): f"--{name}" for name in inspect.signature(command).parameters if name.endswith("_")}
    return [renamed.get(word, word) for word in given]


def _config_first(options: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    return sorted(options, key=lambda option: option[0] != "--config")


def _with_defaults(options: list[tuple[str, list[str]]], command: Callable[..., Any]) -> list[tuple[str, list[str]]]:
    names = [name for name, _ in options]
    if "--config" in names:  # which may name another class
        return options
    for choosing in CHOOSING:
        default = default_class(choosing, command)
        nested = [name for name in names if name.startswith(f"--{choosing}.") and not name.endswith(".help")]
        if default and nested and f"--{choosing}" not in names:
            options = [(f"--{choosing}", [default.__name__]), *options]
    return options


def _kinds(command: Callable[..., Any], given: Sequence[str]) -> dict[str, Any]:
    kinds = kinds_of(command)
    for choosing in CHOOSING:
        chosen = chosen_class(choosing, given, command) if f"--{choosing}" in kinds else None
        kinds |= kinds_of_class(choosing, chosen) if chosen else {}
    return kinds


def _value(words: list[str], kind: Any) -> list[str]:
    """The words of an option as one, where they fit it."""
    if not words:
        return ["true"] if kind in (bool, bool | None) else []
    try:
        return [canonical(words, kind)]
    except ValueError:
        return words


def _joined(options: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """The options and their words in one list; a value that looks like an option stays behind its equals sign."""
    result: list[str] = []
    for option, words in options:
        looks_like_one = len(words) == 1 and words[0].startswith("--")
        result += [f"{option}={words[0]}"] if looks_like_one else [option, *words]
    return result
