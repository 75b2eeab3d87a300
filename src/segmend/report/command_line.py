"""Calls of commands as one would type them in a shell."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator, Mapping
from functools import partial

from segmend.configured import Configured


def command_line(command: str, arguments: Mapping[str, object]) -> str:
    """The line of a shell that does the same as calling a command from Python.

    Args:
        command: its name.
        arguments: values by the names of its parameters. Methods and networks may be classes, or partials of
            them with arguments; recipes are objects.
    """
    words = [word for name, value in arguments.items() for word in _words(f"--{name}", value)]
    return shlex.join(["segmend", command, *words])


def _words(option: str, value: object) -> Iterator[str]:
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
        yield str(value)


def _nested(option: str, arguments: Mapping[str, object]) -> Iterator[str]:
    for name, value in arguments.items():
        yield from _words(f"{option}.{name}", value)
