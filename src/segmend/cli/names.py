"""Names on the command line and in Python, which differ for keywords of Python such as ``import`` and ``from``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segmend import COMMANDS, function_name


def flag_of(argument: str) -> str:
    """The flag of an argument: ``--from`` of ``from_``, as no argument can be called ``from``."""
    return f"--{argument.removesuffix('_')}"


def command_name(command: Callable[..., Any]) -> str:
    """The name of a command on the command line, by its function; that of another function is its own."""
    names = {function_name(name): name for name in COMMANDS}
    return names.get(command.__name__, command.__name__)
