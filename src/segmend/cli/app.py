"""The command line: the functions of ``segmend.commands``, turned into commands by jsonargparse.

Everything heavy is imported within functions: Ctrl+C during the imports is to be answered like any other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmend import COMMANDS, function_name
from segmend.core import signals as stopping
from segmend.core.errors import InputError, did_you_mean, printable
from segmend.core.signals import Stopped

if TYPE_CHECKING:
    from traceback import FrameSummary

    from jsonargparse import ArgumentParser

_ROOT = Path(__file__).parent.parent

_BROKEN_PIPE = 141
"""Exit status of a process whose reader has gone, by the convention of shells."""

_OF_THE_ENVIRONMENT = (OSError, RuntimeError, MemoryError, UnicodeError, ImportError)
"""Errors that are rarely a mistake in the code that raises them."""

_LONGEST_DESCRIPTION = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what stands behind ``segmend``; by default that of this process.

    Returns:
        Exit status: 0 success, 1 a problem in what the user gave, 2 misuse of the command line, 128 + n if the
        process was stopped by signal n.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    stopping.promise_nothing()
    with stopping.listening():
        try:
            _escape_what_cannot_be_printed()
            status = _run(given, debug)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
        except KeyboardInterrupt as interrupt:
            stopped = interrupt if isinstance(interrupt, Stopped) else Stopped()
            return _stopped(stopped, of_process=arguments is None)
        except BrokenPipeError:
            return _without_reader()
        except Exception as error:
            number = stopping.requested()
            if number is not None:  # some libraries make another exception of it
                return _stopped(Stopped(number), of_process=arguments is None)
            if debug or not _is_explained_in_a_line(error):
                raise
            return _complain(_described(error), 1)


def _run(given: list[str], debug: bool) -> int:
    if given[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"segmend {version('segmend')}")
        return 0
    with stopping.listening("end"):
        if not given or given[0] in ("-h", "--help"):
            from segmend.cli.help import overview

            print(overview(COMMANDS))
            return 0 if given else 2
        name, *rest = given
        if name not in COMMANDS:
            return _complain(f"there is no command '{name}'; {did_you_mean(name, COMMANDS)}", 2)
        if {"-h", "--help"} & set(rest):
            from segmend.cli.help import explanation

            print(explanation(name, COMMANDS[name]))
            return 0
        from jsonargparse import ArgumentError

        from segmend.cli.config_files import ConfigError
        from segmend.cli.flags import in_flags
        from segmend.core.logs import shown

        _quieten_libraries(debug)
        command = _command(name)
        try:
            values = _parse(name, command, rest)
        except ConfigError as error:
            return _complain(in_flags(error, command), 1)
        except (ArgumentError, InputError) as error:
            text = in_flags(error, command) if isinstance(error, InputError) else str(error)
            return _complain(f"{text}\nSee 'segmend {name} --help'.", 2)
    try:
        with shown(every_warning=debug):
            command(**values)
    except InputError as error:
        if debug:
            raise
        return _complain(in_flags(error, command), 1)
    return 0


def _quieten_libraries(debug: bool) -> None:
    """Has matplotlib be silent about a home that it may not write to; it takes a temporary folder."""
    import logging

    logging.getLogger("matplotlib").setLevel(logging.WARNING if debug else logging.ERROR)


def _parse(name: str, command: Callable[..., Any], given: list[str]) -> dict[str, Any]:
    import inspect
    import warnings

    from jsonargparse import ArgumentError

    from segmend.cli.arguments import in_python, normalised
    from segmend.cli.config_files import checked
    from segmend.cli.errors import check_words, unreadable
    from segmend.cli.recipes import with_recipe_first

    parser = _parser(name, command)
    unnamed = [name for name in ("name", "names") if name in inspect.signature(command).parameters]
    if unnamed and given and not given[0].startswith("-"):
        given = [f"--{unnamed[0]}", *given]
    given = normalised(given, command)
    check_words(given, command)
    given = in_python(with_recipe_first(checked(given, command), command), command)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="jsonargparse")  # of types in signatures, which no user can change
        try:
            values = parser.instantiate(parser.parse_args(given, env=False)).as_dict()
        except ArgumentError as error:
            raise _refused(error) or unreadable(given, command) from error
    values.pop("config", None)
    return {key: value for key, value in values.items() if key in inspect.signature(command).parameters}


def _refused(error: BaseException) -> InputError | None:
    """The error of a group of settings about its own values, which jsonargparse has made another one of."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _parser(name: str, command: Callable[..., Any]) -> ArgumentParser:
    from docstring_parser import parse as parse_docstring
    from jsonargparse import ArgumentParser

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
    parser.add_argument(
        "--import", help="a module of your own, whose classes files may then name, such as those of a run"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.add_function_arguments(command, as_group=False)
    return parser


def _command(name: str) -> Callable[..., Any]:
    import importlib

    command: Callable[..., Any] = getattr(importlib.import_module(COMMANDS[name]), function_name(name))
    return command


def _escape_what_cannot_be_printed() -> None:
    """Has characters that the encoding of the console lacks printed as escapes, in every kind of output."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, status: int) -> int:
    """Prints a message, with escape codes of a terminal that names may hold made visible."""
    if sys.stderr is not None:
        with suppress(OSError):  # the reader may have gone
            print("segmend:", printable(message, keep="\n"), file=sys.stderr, flush=True)
    return status


def _stopped(stopped: Stopped, of_process: bool) -> int:
    """Says that the command was stopped, and ends the process soon if it is that of the command."""
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of the processes of one training, one message is enough
        _complain(str(stopped), stopped.status)
    if of_process:
        stopping.end_soon(stopped.status)
    return stopped.status


def _is_explained_in_a_line(error: Exception) -> bool:
    """Whether an error comes from the environment, segmend or a library, not from code that the user is writing."""
    import sysconfig

    if isinstance(error, _OF_THE_ENVIRONMENT):
        return True
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    raised_in = Path(_frames(error)[-1].filename)
    return any(raised_in.is_relative_to(folder) for folder in [*installed, _ROOT])


def _described(error: Exception) -> str:
    """A line about an error that was not foreseen."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if len(text) > _LONGEST_DESCRIPTION:
        text = f"{text[:_LONGEST_DESCRIPTION]}..."
    own = [frame for frame in _frames(error) if Path(frame.filename).is_relative_to(_ROOT)]
    place = f" (in {Path(own[-1].filename).relative_to(_ROOT.parent)}, line {own[-1].lineno})"
    what = f"{type(error).__name__}{': ' if text else ''}{text}{place}"
    return f"an error that was not foreseen: {what}. Add --debug to see its traceback."


def _frames(error: Exception) -> list[FrameSummary]:
    from traceback import extract_tb

    return list(extract_tb(error.__traceback__))


def _without_reader() -> int:
    """Ends quietly, as other programs do, when what reads the output has ended, such as ``head``."""
    # What is still in the buffer would be written, and fail, at the end of the process.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return _BROKEN_PIPE
