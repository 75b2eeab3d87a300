"""Methods and networks as plain data, and back."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from segmend.configured import Configured
from segmend.errors import InputError, did_you_mean

T = TypeVar("T", bound=Configured)


def described(built: Configured, known: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Class and arguments of an object, as YAML and JSON can hold them.

    Args:
        built: any configured object.
        known: classes that go by their short name; others are written with their module.

    Returns:
        ``{"class_path": ..., "init_args": {...}}``; the arguments that only Python can give (the
        network of a method; channels, classes and dimensions of a network) are left out.
    """
    cls = type(built)
    short = cls.__name__ if known.get(cls.__name__) is cls else f"{cls.__module__}.{cls.__qualname__}"
    left_out = {"network", "in_channels", "classes", "dimensions"}
    arguments = {name: plain(value) for name, value in built.arguments.items() if name not in left_out}
    return {"class_path": short, "init_args": arguments}


def rebuilt(description: Mapping[str, Any], known: Mapping[str, type[T]], base: type[T], *leading: object) -> T:
    """The object that ``described`` described.

    Raises:
        InputError: there is no such class, or it does not take these arguments.
    """
    cls = described_class(description, known, base)
    try:
        return cls(*leading, **description.get("init_args", {}))
    except TypeError as error:
        problem = f"cannot be built ({error})"
        raise InputError(description["class_path"], problem, "correct its arguments in config.yaml") from error


def described_class(description: Mapping[str, Any], known: Mapping[str, type[T]], base: type[T]) -> type[T]:
    """The class of the object that ``described`` described.

    Raises:
        InputError: there is no such class.
    """
    path = str(description["class_path"])
    cls = known.get(path) or _imported(path, known)
    if not issubclass(cls, base):
        raise InputError(path, f"is not a {base.__name__}", did_you_mean(path, known))
    return cls


def plain(value: Any) -> Any:
    """The value made of what YAML and JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _imported(path: str, known: Mapping[str, type[T]]) -> type[Any]:
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name) if module else None
    except (ImportError, AttributeError, TypeError):  # a relative name is a TypeError
        cls = None
    if not isinstance(cls, type):
        raise InputError(path, "is not known", did_you_mean(path, known))
    return cls
