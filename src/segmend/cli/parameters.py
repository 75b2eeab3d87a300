"""The arguments that a command takes, with those of the classes that it chooses by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from segmend.cli.names import flag_of
from segmend.commands.calls import known_classes as known_classes
from segmend.core.config import Configured
from segmend.core.values import choices

CHOOSING = ("method", "network", "recipe")
"""Arguments that choose a class by its name."""

_FROM_DATA = {"network", "in_channels", "classes", "dimensions"}
"""Parameters of those classes that are not given on the command line."""


def chooses_class(name: str, command: Callable[..., Any]) -> bool:
    """Whether an argument of a command chooses a class; not if its type lists the words that it takes."""
    return name in CHOOSING and not choices(kinds_of(command).get(f"--{name}"))


def grouped(given: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The words before the first option, and each option with the words behind it."""
    before: list[str] = []
    options: list[tuple[str, list[str]]] = []
    for word in given:
        if word.startswith("--") or word == "-h":
            option, equals, value = word.partition("=")
            options.append((option, [value] if equals else []))
        else:
            (options[-1][1] if options else before).append(word)
    return before, options


def kinds_of(command: Callable[..., Any]) -> dict[str, Any]:
    """The type of each argument of a command, by its option; of groups of settings one by one."""
    kinds: dict[str, Any] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kinds[flag_of(name)] = parameter.annotation
        if is_dataclass(parameter.annotation):
            hints = get_type_hints(parameter.annotation)
            kinds |= {f"--{name}.{field.name}": hints[field.name] for field in fields(parameter.annotation)}
    return kinds


def kinds_of_class(choosing: str, chosen: Callable[..., Any]) -> dict[str, Any]:
    """The type of each argument of a class that an argument has chosen, by its option."""
    signature = inspect.signature(chosen, eval_str=True)
    return {f"--{choosing}.{p.name}": p.annotation for p in signature.parameters.values() if p.name not in _FROM_DATA}


def required_of_class(chosen: Callable[..., Any]) -> list[str]:
    """The arguments that the class cannot be built without."""
    parameters = inspect.signature(chosen).parameters.values()
    return [
        p.name for p in parameters if p.name not in _FROM_DATA and p.default is p.empty and p.kind is p.KEYWORD_ONLY
    ]


def chosen_class(choosing: str, given: Sequence[str], command: Callable[..., Any]) -> type[Any] | None:
    """The class that an argument chooses; None if it is none that goes by a short name, or a file may name it."""
    named = [words for option, words in grouped(given)[1] if option == f"--{choosing}"]
    if named:
        return known_classes(choosing).get(" ".join(named[-1]))
    return None if "--config" in given else default_class(choosing, command)


def default_class(choosing: str, command: Callable[..., Any]) -> type[Any] | None:
    """The class that a command takes if none is named."""
    parameter = inspect.signature(command).parameters.get(choosing)
    default = parameter.default if parameter else None
    default = default if isinstance(default, type) else type(default)
    return default if issubclass(default, Configured) else None
