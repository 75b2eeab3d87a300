"""Commands as Python functions: paths as text, methods, networks and recipes by name, class or instance."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from segmend import COMMANDS, function_name
from segmend.core.config import Configured
from segmend.core.errors import InputError, did_you_mean
from segmend.core.values import choices

_CHOSEN = ("method", "network", "recipe")
_FROM_DATA = {"network", "in_channels", "classes", "dimensions"}
"""Parameters of methods and networks that the data decide."""


@functools.cache
def as_function(name: str) -> Callable[..., Any]:
    """The function of a command, with the conveniences of a Python caller.

    Arguments without a default may be given by position, in their order: ``train("DATA", "RUN")``.

    Args:
        name: of the command.
    """
    command: Callable[..., Any] = getattr(importlib.import_module(COMMANDS[name]), function_name(name))
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    required = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    annotations = {each.name: each.annotation for each in parameters}

    @functools.wraps(command)
    def call(*leading: Any, **arguments: Any) -> Any:
        if len(leading) > len(required):
            raise TypeError(f"{name} takes {', '.join(required)} by position, got {len(leading)} values")
        twice = set(required[: len(leading)]) & set(arguments)
        if twice:
            raise TypeError(f"{name} got {', '.join(sorted(twice))} by position and by name")
        arguments |= zip(required, leading, strict=False)
        return command(**{key: _converted(key, value, annotations.get(key)) for key, value in arguments.items()})

    return call


def _converted(name: str, value: Any, annotation: Any) -> Any:
    if name in _CHOSEN and not choices(annotation):
        return _chosen(name, value)
    kinds = {annotation, *get_args(annotation)}
    if isinstance(value, (str, os.PathLike)) and Path in kinds and str not in kinds:
        return Path(value)
    if isinstance(value, (list, tuple)) and list[Path] in kinds:
        return [Path(each) for each in value]
    return value


def _chosen(name: str, value: Any) -> Any:
    """What a command takes for a class: a name stands for the class, an instance for its class and arguments."""
    if isinstance(value, str):
        known = known_classes(name)
        if value not in known:
            raise InputError(name, f"there is no '{value}'", did_you_mean(value, known), code="unknown-name")
        value = known[value]
        return value() if name == "recipe" else value
    if isinstance(value, Configured) and name != "recipe":
        given = {key: argument for key, argument in value.arguments.items() if key not in _FROM_DATA}
        return partial(type(value), **given)
    if name == "network" and value is not None:
        from segmend.networks.foreign import adopted

        return adopted(value)
    return value


def known_classes(name: str) -> Mapping[str, type[Any]]:
    """The classes that an argument, ``method``, ``network`` or ``recipe``, chooses from by name; none for others."""
    if name == "method":
        return dict(importlib.import_module("segmend.methods").all_methods())
    if name == "network":
        return dict(importlib.import_module("segmend.networks").all_networks())
    if name == "recipe":
        return dict(importlib.import_module("segmend.noise").all_recipes())
    return {}
