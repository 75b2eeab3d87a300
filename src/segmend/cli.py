"""The command line: the functions of ``segmend.commands``, turned into commands by jsonargparse."""

from __future__ import annotations

import importlib
import inspect
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console

from segmend import COMMANDS
from segmend.errors import InputError, did_you_mean, printable
from segmend.misuse import check_words, unreadable
from segmend.words import normalised


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what stands behind ``segmend``; by default that of this process.

    Returns:
        Exit status: 0 success, 1 a problem in what the user gave, 2 misuse of the command line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
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
    unnamed = [name for name in ("name", "names") if name in inspect.signature(command).parameters]
    if unnamed and given and not given[0].startswith("-"):
        given = [f"--{unnamed[0]}", *given]
    given = normalised(given, command)
    check_words(given, command)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = parser.instantiate(parser.parse_args(given)).as_dict()
        except ArgumentError as error:
            raise unreadable(given, command) from error
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
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with arguments, such as a run's config.yaml")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.add_function_arguments(command, as_group=False)
    return parser


def _command(name: str) -> Callable[..., Any]:
    command: Callable[..., Any] = getattr(importlib.import_module(COMMANDS[name]), name)
    return command


def _overview() -> str:
    lines = ["usage: segmend COMMAND [arguments]", "", inspect.getdoc(importlib.import_module("segmend")) or "", ""]
    lines[2] = lines[2].splitlines()[0]
    for name in COMMANDS:
        summary = parse_docstring(_command(name).__doc__ or "").short_description
        lines.append(f"  {name:<10} {summary}")
    return "\n".join([*lines, "", "'segmend COMMAND --help' explains a command, with an example."])


def _complain(message: str, status: int) -> int:
    Console(stderr=True, highlight=False).print(
        f"segmend: {printable(message, keep=chr(10))}", markup=False, emoji=False, soft_wrap=True
    )
    return status
