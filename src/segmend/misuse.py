"""What was wrong with a command line, in words of the user."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

from segmend.errors import InputError, did_you_mean

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "collections.abc.Sequence": "numbers"}


_CHOOSING = ("method", "network", "recipe")
"""Arguments that choose a class by its name."""

_FROM_DATA = {"network", "in_channels", "classes", "dimensions"}
"""Parameters of those classes that are not given on the command line."""


def check_names(given: Sequence[str]) -> None:
    """Finds misspelt methods, networks and recipes, for which jsonargparse would ask for an import path.

    Raises:
        InputError: there is one, or an argument of one that is not named.
    """
    for word, choosing in ((word, choosing) for word in given for choosing in _CHOOSING):
        own = word.startswith(f"--{choosing}.") and word != f"--{choosing}.help"
        if own and f"--{choosing}" not in given and "--config" not in given:
            raise InputError(word, f"is an argument of a {choosing}, but none is named", f"add --{choosing} NAME")
    for argument, value, known in _choices(given):
        if value not in known and "." not in value and not value.startswith(("-", "{")):
            raise InputError(argument, f"there is no '{value}'", did_you_mean(value, known))


def explained(message: str, given: Sequence[str], command: Callable[..., Any]) -> tuple[str, str]:
    """Problem and remedy of an error of jsonargparse.

    Args:
        message: of the error.
        given: the arguments that led to it.
        command: function of the command.
    """
    return (
        _unknown_option(message)
        or _missing_options(message)
        or _unknown_argument(message, command)
        or _unusable_value(message, given)
        or (" ".join(message.split()), "correct the arguments")
    )


def _unknown_option(message: str) -> tuple[str, str] | None:
    misspelt = re.search(r"Option '(\w+)' is not accepted.*class_path='[\w.]*?(\w+)'", message, re.DOTALL)
    known = {name: cls for argument in _CHOOSING for name, cls in _named(argument).items()}
    if not misspelt or misspelt[2] not in known:
        return None
    option, chosen = misspelt.groups()
    options = set(inspect.signature(known[chosen]).parameters) - _FROM_DATA
    return f"{chosen} has no argument '{option}'", did_you_mean(option, options)


def _missing_options(message: str) -> tuple[str, str] | None:
    missing = re.search(
        r"arguments are required: ([\w, ]+)\..*class_path='[\w.]*?(\w+)'", " ".join(message.split()), re.DOTALL
    )
    if not missing:
        return None
    names, chosen = missing.groups()
    return f"{chosen} cannot do without {names}", f"give each as --ARGUMENT.NAME, where {chosen} is chosen"


def _unknown_argument(message: str, command: Callable[..., Any]) -> tuple[str, str] | None:
    unknown = re.search(r"[Uu]nrecognized arguments: (--[\w.]+)", message)
    if not unknown:
        return None
    options = set()
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        options.add(f"--{name}")
        if is_dataclass(parameter.annotation):
            options |= {f"--{name}.{field.name}" for field in fields(parameter.annotation)}
    return f"there is no argument {unknown[1]}", did_you_mean(unknown[1], options)


def _unusable_value(message: str, given: Sequence[str]) -> tuple[str, str] | None:
    argument = "--" + ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    kinds = re.findall(r"Expected an? <class '([\w.]+)'>|Expected an? typing\.Literal\[(.+?)\]", message)
    value = dict(pairwise(given)).get(argument)
    if value is None or not kinds:
        return None
    wanted = [_KINDS.get(kind, choices.replace(", ", " or ")) for kind, choices in kinds if kind != "NoneType"]
    return f"{argument} is {value}", f"give {' or '.join(dict.fromkeys(wanted))}"


def _choices(given: Sequence[str]) -> Iterator[tuple[str, str, dict[str, type[Any]]]]:
    """Each argument that chooses a class by name, the name given, and the names there are."""
    for argument, value in pairwise(given):
        known = _named(argument.removeprefix("--").removesuffix(".help")) if argument.startswith("--") else {}
        if known:
            yield argument, value, known


def _named(argument: str) -> dict[str, type[Any]]:
    """The classes that an argument chooses from by name."""
    if argument == "method":
        return dict(importlib.import_module("segmend.methods").all_methods())
    if argument == "network":
        return dict(importlib.import_module("segmend.networks").all_networks())
    if argument == "recipe":
        return dict(importlib.import_module("segmend.labels.corrupt").all_recipes())
    return {}
