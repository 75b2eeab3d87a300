"""The words of a command line, as people write them, turned into what jsonargparse reads."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from segmend.configured import Configured

_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def normalised(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """The same arguments in the one form that jsonargparse understands.

    ``--seed=1`` becomes two words, ``--json`` gets its value true, ``--patch 64 64 48`` becomes a list,
    ``--network.width 8`` gets the default network's name before it, and a configuration file comes first, so that
    arguments given beside it win wherever they stand.

    Args:
        given: what stands behind the name of the command.
        command: its function; the types of its parameters decide.
    """
    given = _config_first(_in_two_words(given))
    return _with_lists(_with_names(_with_flags(_with_defaults(given, command), command), command), command)


def _in_two_words(given: Iterable[str]) -> list[str]:
    return [
        word for argument in given for word in (argument.split("=", 1) if argument.startswith("--") else [argument])
    ]


def _config_first(given: list[str]) -> list[str]:
    if "--config" not in given:
        return given
    at = given.index("--config")
    return [*given[at : at + 2], *given[:at], *given[at + 2 :]]


def _with_defaults(given: list[str], command: Callable[..., Any]) -> list[str]:
    if "--config" in given:  # which may name another class
        return given
    for name, parameter in inspect.signature(command).parameters.items():
        default = parameter.default if isinstance(parameter.default, type) else type(parameter.default)
        of_default = [word for word in given if word.startswith(f"--{name}.") and not word.endswith(".help")]
        if of_default and f"--{name}" not in given and issubclass(default, Configured):
            given = [f"--{name}", default.__name__, *given]
    return given


def _with_flags(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    switches = {name for name, annotation in _types(command) if annotation is bool}
    result: list[str] = []
    for position, argument in enumerate(given):
        result.append(argument)
        if argument in switches and (position + 1 == len(given) or given[position + 1].startswith("--")):
            result.append("true")
    return result


def _with_names(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """``--only A B`` as one list, and files likewise."""
    lists = (Sequence[str], Sequence[Path])
    several = {name for name, kind in _types(command) if any(k in lists for k in (kind, *get_args(kind)))}
    result: list[str] = []
    for argument in given:
        if result and result[-1] in several and not argument.startswith("--"):
            result.append(json.dumps([argument]))
        elif len(result) > 1 and result[-2] in several and not argument.startswith("--"):
            result[-1] = json.dumps([*json.loads(result[-1]), argument])
        else:
            result.append(argument)
    return result


def _with_lists(given: Iterable[str], command: Callable[..., Any]) -> list[str]:
    several = {
        name for name, kind in _types(command) if any(get_origin(k) is Sequence for k in (kind, *get_args(kind)))
    }
    result: list[str] = []
    numbers: list[str] = []
    for argument in [*given, ""]:
        if _NUMBER.fullmatch(argument) and result and (numbers or result[-1].startswith("--")):
            numbers.append(argument)
            continue
        if numbers:
            single = len(numbers) == 1 and result[-1] not in several
            result.append(numbers[0] if single else f"[{','.join(numbers)}]")
            numbers = []
        result.append(argument)
    return result[:-1]


def _types(command: Callable[..., Any]) -> Iterable[tuple[str, Any]]:
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    return [(f"--{parameter.name}", parameter.annotation) for parameter in parameters]
