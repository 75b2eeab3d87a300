"""The command line: the functions of ``segmend.commands``, turned into commands by jsonargparse."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console

from segmend import COMMANDS
from segmend.errors import InputError, did_you_mean

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what stands behind ``segmend``; by default that of this process.

    Returns:
        Exit status: 0 success, 1 a problem in what the user gave, 2 misuse of the command line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"segmend {version('segmend')}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        return _complain(f"there is no command '{name}'; {did_you_mean(name, COMMANDS)}", 2)
    command = _command(name)
    try:
        values = _parse(name, command, rest)
    except (ArgumentError, InputError) as error:
        return _complain(f"{error}\nSee 'segmend {name} --help'.", 2)
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
            command(**values)
    except InputError as error:
        if debug:
            raise
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped; run the same command again to continue", 130)
    return 0


def _parse(name: str, command: Callable[..., Any], given: list[str]) -> dict[str, Any]:
    parser = _parser(name, command)
    if given and not given[0].startswith("-"):
        given = ["--name", *given]
    given = _with_lists(_with_flags(given, command))
    _check_names(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = parser.instantiate(parser.parse_args(given)).as_dict()
        except ArgumentError as error:
            raise InputError(f"segmend {name}", *_explained(str(error), given, command)) from error
    values.pop("config", None)
    return {key: value for key, value in values.items() if key in inspect.signature(command).parameters}


def _parser(name: str, command: Callable[..., Any]) -> ArgumentParser:
    text = parse_docstring(command.__doc__ or "")
    example = next((meta.description for meta in text.meta if meta.args[:1] == ["examples"]), "")
    parser = ArgumentParser(
        prog=f"segmend {name}",
        description="\n\n".join(part for part in (text.short_description, text.long_description) if part),
        epilog=f"example:  {example}",
        exit_on_error=False,
    )
    parser.add_argument(
        "--config", action="config", help="a YAML file with arguments, such as a run's config.yaml"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.add_function_arguments(command, as_group=False)
    return parser


def _with_lists(given: Iterable[str]) -> list[str]:
    """``--patch 64 64 48`` as jsonargparse wants it: ``--patch [64,64,48]``."""
    result: list[str] = []
    numbers: list[str] = []
    for argument in [*given, ""]:
        if _NUMBER.fullmatch(argument) and result and (numbers or result[-1].startswith("--")):
            numbers.append(argument)
            continue
        if numbers:
            result.append(f"[{','.join(numbers)}]" if len(numbers) > 1 else numbers[0])
            numbers = []
        result.append(argument)
    return result[:-1]


def _with_flags(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """``--json`` as jsonargparse wants it: ``--json true``."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    switches = {f"--{parameter.name}" for parameter in parameters if parameter.annotation is bool}
    result: list[str] = []
    for argument, following in zip(given, [*given[1:], "--"], strict=False):
        result.append(argument)
        if argument in switches and following.startswith("--"):
            result.append("true")
    return result


def _check_names(given: Sequence[str]) -> None:
    """Finds misspelt methods, networks and recipes, for which jsonargparse would ask for an import path."""
    for argument, value in pairwise(given):
        known = _named(argument.removeprefix("--").removesuffix(".help")) if argument.startswith("--") else {}
        if known and value not in known and "." not in value and not value.startswith(("-", "{")):
            raise InputError(argument, f"there is no '{value}'", did_you_mean(value, known))


def _explained(message: str, given: Sequence[str], command: Callable[..., Any]) -> tuple[str, str]:
    """Problem and remedy of an error of jsonargparse."""
    misspelt = re.search(r"Option '(\w+)' is not accepted", message)
    if misspelt:
        for argument, value in pairwise(given):
            known = _named(argument.removeprefix("--")) if argument.startswith("--") else {}
            if value in known:
                options = set(inspect.signature(known[value]).parameters) - {"self", "network"}
                if f"{argument}.{misspelt[1]}" in given:
                    return f"{value} has no argument '{misspelt[1]}'", did_you_mean(misspelt[1], options)
    unknown = re.search(r"[Uu]nrecognized arguments: (--[\w.]+)", message)
    if unknown:
        options = {f"--{name}" for name in inspect.signature(command).parameters}
        return f"there is no argument {unknown[1]}", did_you_mean(unknown[1], options)
    return " ".join(message.split()), "correct the arguments"


def _named(argument: str) -> dict[str, type[Any]]:
    """The classes that an argument chooses from by name."""
    if argument == "method":
        return dict(importlib.import_module("segmend.methods").all_methods())
    if argument == "network":
        return dict(importlib.import_module("segmend.networks").all_networks())
    if argument == "recipe":
        return dict(importlib.import_module("segmend.labels.corrupt").all_recipes())
    return {}


def _command(name: str) -> Callable[..., Any]:
    command: Callable[..., Any] = getattr(importlib.import_module(f"segmend.commands.{name}"), name)
    return command


def _overview() -> str:
    lines = ["usage: segmend COMMAND [arguments]", "", inspect.getdoc(importlib.import_module("segmend")) or "", ""]
    lines[2] = lines[2].splitlines()[0]
    for name in COMMANDS:
        summary = parse_docstring(_command(name).__doc__ or "").short_description
        lines.append(f"  {name:<10} {summary}")
    return "\n".join([*lines, "", "'segmend COMMAND --help' explains a command, with an example."])


def _complain(message: str, status: int) -> int:
    Console(stderr=True, highlight=False).print(f"segmend: {message}", markup=False, soft_wrap=True)
    return status
