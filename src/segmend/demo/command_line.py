"""Calls of commands as one would type them in a shell."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial

from segmend.core.config import Configured


def command_line(command: str, arguments: Mapping[str, object]) -> str:
    """The line of a shell that does the same as calling a command from Python.

    Args:
        command: its name.
        arguments: values by the names of its parameters. Methods and networks may be classes, or partials of
            them with arguments; recipes are objects. Of option groups (dataclasses), what differs from the default
            is shown.
    """
    words = [word for name, value in arguments.items() for word in _words(f"--{name}", value)]
    return shlex.join(["segmend", command, *words])


def _words(option: str, value: object) -> Iterator[str]:
    if is_dataclass(value) and not isinstance(value, type):
        default = type(value)()
        changed = {each.name: getattr(value, each.name) for each in fields(value)}
        yield from _nested(option, {name: own for name, own in changed.items() if own != getattr(default, name)})
        return
    yield option
    if isinstance(value, partial):
        yield value.func.__name__
        yield from _nested(option, value.keywords)
    elif isinstance(value, type):
        yield value.__name__
    elif isinstance(value, Configured):
        yield type(value).__name__
        parameters = inspect.signature(type(value)).parameters
        given = {name: given for name, given in value.arguments.items() if given != parameters[name].default}
        yield from _nested(option, given)
    elif isinstance(value, (list, tuple)):
        yield from map(str, value)
    else:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def _nested(option: str, arguments: Mapping[str, object]) -> Iterator[str]:
    for name, value in arguments.items():
        yield from _words(f"{option}.{name}", value)
