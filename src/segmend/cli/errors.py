"""What is wrong with a command line, in words of the user."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import yaml

from segmend.cli.names import command_name, flag_of
from segmend.cli.parameters import (
    CHOOSING,
    chooses_class,
    chosen_class,
    grouped,
    kinds_of,
    kinds_of_class,
    known_classes,
    required_of_class,
)
from segmend.core.errors import Code, InputError, did_you_mean
from segmend.core.values import canonical, choices, described, example, takes_several

_LONGEST = 80
"""Letters of a value that are repeated in a message."""

OF_ALL_COMMANDS = {
    "--config": "give a YAML file, such as the config.yaml of a run",
    "--import": "give a module of your own",
}
"""Options that every command has, and what to give."""

Kinds = Mapping[str, Any]


def check_words(given: Sequence[str], command: Callable[..., Any]) -> None:
    """Makes sure that a command can be called with these words, so that no reader of them has to complain.

    Args:
        given: the arguments in their normal form.
        command: function of the command.

    Raises:
        InputError: an argument is not known, has no value or one of another type, or one is missing.
    """
    before, options = grouped(given)
    if any(option in ("--help", "-h") or option.endswith(".help") for option, _ in options):
        check_names(given, command)
        return
    if before:
        raise _misuse(
            command,
            f"'{before[0]}' stands where an argument is expected",
            "write --ARGUMENT before it",
            code="invalid-value",
        )
    check_names(given, command)
    kinds, classes = kinds_of(command), _chosen(given, command)
    for choosing, chosen in classes.items():
        kinds |= kinds_of_class(choosing, chosen) if chosen else {}
    for option, words in options:
        if option in OF_ALL_COMMANDS:
            if len(words) != 1:
                raise _misuse(
                    command,
                    f"{option} must have one value, got {len(words)}",
                    OF_ALL_COMMANDS[option],
                    code="invalid-value",
                )
        elif option in kinds:
            _check_value(option, words, kinds, command)
        elif not _is_of_unknown_class(option, classes):
            raise _unknown(option, kinds, classes, command)
    _check_complete({option for option, _ in options}, classes, command)


def check_names(given: Sequence[str], command: Callable[..., Any]) -> None:
    """Finds misspelt methods, networks and recipes, for which jsonargparse would ask for an import path.

    Args:
        given: the arguments in their normal form.
        command: function of the command.

    Raises:
        InputError: there is one, or an argument of one that is not named.
    """
    options = grouped(given)[1]
    names = {option for option, _ in options}
    for option, words in options:
        choosing, dot, rest = option.removeprefix("--").partition(".")
        if not chooses_class(choosing, command):
            continue
        if dot and rest != "help" and not {f"--{choosing}", "--config"} & names:
            raise InputError(
                option,
                f"is an argument of a {choosing}, but none is named",
                f"add --{choosing} NAME",
                code="missing-value",
            )
        value, known = " ".join(words), known_classes(choosing)
        if value and rest in ("", "help") and value not in known and "." not in value and not value.startswith("{"):
            raise InputError(option, f"there is no '{value}'", did_you_mean(value, known), code="unknown-name")


def unreadable(given: Sequence[str], command: Callable[..., Any]) -> InputError:
    """What to say where the words are right one by one, and yet cannot be read together."""
    files = [words[0] for option, words in grouped(given)[1] if option == "--config" and words]
    if files:
        problem = f"does not hold arguments of segmend {command_name(command)}"
        return InputError(files[0], problem, "compare it with the config.yaml of a run", code="invalid-value")
    return _misuse(command, "the arguments cannot be read together", "compare them with --help", code="invalid-value")


def _chosen(given: Sequence[str], command: Callable[..., Any]) -> dict[str, type[Any] | None]:
    """The classes that arguments choose; None where one cannot be known by its words."""
    takes = kinds_of(command)
    return {
        choosing: chosen_class(choosing, given, command)
        for choosing in CHOOSING
        if f"--{choosing}" in takes and chooses_class(choosing, command)
    }


def _check_value(option: str, words: Sequence[str], kinds: Kinds, command: Callable[..., Any]) -> None:
    kind, name = kinds[option], option.removeprefix("--")
    if not words:
        raise _misuse(command, f"{option} has no value", _advice(name, words, kind), code="missing-value")
    if len(words) > 1 and not (takes_several(kind) or words[0].startswith(("[", "(", "{"))):
        problem = f"{option} takes one value, got {len(words)}: {_shortened(' '.join(words))}"
        raise _misuse(command, problem, "put a value that holds spaces into quotes", code="invalid-value")
    if chooses_class(name, command):
        return
    if is_dataclass(kind):
        own = [known for known in kinds if known.startswith(f"{option}.")]
        raise _misuse(
            command,
            f"{option} is a group of arguments and takes no value",
            f"give {' or '.join(own)}",
            code="invalid-value",
        )
    try:
        canonical(words, kind)
    except ValueError:
        problem = f"{option} must be {described(kind)}, got {_shortened(' '.join(words))}"
        raise _misuse(command, problem, _advice(name, words, kind), code="invalid-value") from None


def _advice(name: str, words: Sequence[str], kind: Any) -> str:
    """A remedy for a value that does not fit."""
    if name in CHOOSING and not choices(kind):
        return f"give the name of one {name}"
    shown, named = example(kind), choices(kind)
    if named and (not shown or not words):
        return f"choose from {', '.join(named)}"
    return f"write for example --{name} {shown}" if shown else f"see --{name} in --help"


def check_entry(where: str, name: str, value: Any, command: Callable[..., Any]) -> None:
    """Makes sure that an entry of a file of arguments fits its type; those of a group one by one.

    Args:
        where: file and line, for the message.
        name: of the argument, such as ``seed`` or ``augmentation.noise``.
        value: as YAML gives it.
        command: function of the command.

    Raises:
        InputError: it does not.
    """
    kinds = kinds_of(command)
    kind = kinds[flag_of(name)]
    if chooses_class(name, command):  # which are checked when the object is built
        return
    if is_dataclass(kind) and isinstance(value, dict):
        for key, item in value.items():
            if f"--{name}.{key}" not in kinds:
                known = [option.rpartition(".")[2] for option in kinds if option.startswith(f"--{name}.")]
                raise InputError(
                    where, f"{name} has no argument '{key}'", did_you_mean(str(key), known), code="unknown-name"
                )
            check_entry(where, f"{name}.{key}", item, command)
        return
    word = value if isinstance(value, str) else _written(value)
    try:
        canonical([word], kind)
    except ValueError:
        problem = f"{name} must be {described(kind)}, got {_shortened(word)}"
        raise InputError(where, problem, "correct this entry", code="invalid-value") from None


def _written(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("...\n").strip()


def _is_of_unknown_class(option: str, classes: Mapping[str, type[Any] | None]) -> bool:
    """Whether it is an argument of a class that only its own import or a file of arguments names."""
    choosing, dot, _ = option.removeprefix("--").partition(".")
    return bool(dot) and choosing in classes and classes[choosing] is None


def _unknown(
    option: str, kinds: Kinds, classes: Mapping[str, type[Any] | None], command: Callable[..., Any]
) -> InputError:
    choosing, dot, name = option.removeprefix("--").partition(".")
    chosen = classes.get(choosing)
    if dot and chosen:
        own = [known.partition(".")[2] for known in kinds if known.startswith(f"--{choosing}.")]
        advice = did_you_mean(name, own) if own else f"{chosen.__name__} takes none"
        return _misuse(command, f"{chosen.__name__} has no argument '{name}'", advice, code="unknown-name")
    return _misuse(command, f"there is no argument {option}", did_you_mean(option, kinds), code="unknown-name")


def _check_complete(given: set[str], classes: Mapping[str, type[Any] | None], command: Callable[..., Any]) -> None:
    if "--config" in given:
        return
    parameters = inspect.signature(command).parameters.values()
    missing = [flag_of(p.name) for p in parameters if p.default is p.empty and flag_of(p.name) not in given]
    if missing:
        raise _misuse(command, f"{_all(missing)} must be given", f"add {' and '.join(missing)}", code="missing-value")
    for choosing, chosen in classes.items():
        needed = [f"--{choosing}.{name}" for name in required_of_class(chosen)] if chosen else []
        absent = [option for option in needed if option not in given]
        if chosen and absent:
            raise _misuse(
                command,
                f"{chosen.__name__} needs {_all(absent)}",
                f"give {_all(absent)}, or another {choosing}",
                code="missing-value",
            )


def _all(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _names(kinds: Iterable[str]) -> list[str]:
    return [option.removeprefix("--") for option in kinds if "." not in option]


def _shortened(text: str) -> str:
    return f"'{text[:_LONGEST]}...'" if len(text) > _LONGEST else f"'{text}'"


def _misuse(command: Callable[..., Any], problem: str, remedy: str, *, code: Code = "invalid-value") -> InputError:
    return InputError(f"segmend {command_name(command)}", problem, remedy, code=code)
