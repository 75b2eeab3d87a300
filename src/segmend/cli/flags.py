"""Errors of the library as the command line prints them: arguments by their flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from segmend.cli.names import flag_of
from segmend.cli.parameters import CHOOSING, kinds_of
from segmend.core.errors import InputError, message

_NAMED = re.compile(r"`([A-Za-z_][\w.]*)((?: [^`\n]*)?)`")
"""An argument between backquotes, perhaps with a value, as in ``segmend.core.errors`` described."""

_OF_ALL_COMMANDS = ("--import",)


def in_flags(error: InputError, command: Callable[..., Any]) -> str:
    """The text of an error with every argument of the command written as its flag.

    A place that is the name of an argument (or several, such as "train, test") becomes a flag, a path never does. In
    problem and remedy arguments stand between backquotes. What is no argument of this command stays as it is.

    Args:
        error: of the library.
        command: the function that was called.
    """
    options = [*kinds_of(command), *_OF_ALL_COMMANDS]

    def rendered(match: re.Match[str]) -> str:
        flag = _flag(match[1], options)
        return match[0] if flag is None else f"{flag}{match[2]}"

    problem, remedy = (_NAMED.sub(rendered, text) for text in (error.problem, error.remedy))
    flags = [_flag(name, options) for name in error.where.split(", ")]
    where = error.where if error.is_path or None in flags else ", ".join(map(str, flags))
    return message(where, problem, remedy, error.details)


def _flag(name: str, options: Iterable[str]) -> str | None:
    """The flag of an argument, also where the command holds it in a group; None if it is none of the command."""
    options = list(options)
    choosing, dot, _ = name.partition(".")
    if flag_of(name) in options or (dot and choosing in CHOOSING and f"--{choosing}" in options):
        return flag_of(name)
    grouped = [option for option in options if option.endswith(f".{name}")]
    return grouped[0] if len(grouped) == 1 else None
