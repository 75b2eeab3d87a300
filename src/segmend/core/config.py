"""Objects that record how they were built, as plain data and back.

A run saves the arguments of its method and network, and is rebuilt from them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from segmend.core.errors import InputError, did_you_mean

WEIGHTS_DIGEST = "weights_digest"
"""Entry of config.yaml that is no argument: digest of the weights that a run started from."""


class Configured:
    """Records the constructor arguments of each instance in ``arguments``.

    The constructor of a method, network or noise recipe is its whole configuration. Recording it at the one place where
    it is known avoids a second, hand-written list in every class that could become outdated.

    Attributes:
        arguments: the arguments of the outermost constructor call with the defaults filled in, as
            given (networks passed to a method included).
        protocol_version: version of what the class computes. Raise it, by stating it in the class, when results change:
            recorded results of another version are not taken for those of this code. The golden tests fail until then.
    """

    arguments: dict[str, Any]
    protocol_version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _recording(cls.__init__))  # noqa: B010 - mypy rejects assigning to __init__


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self: Configured, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        init(self, *args, **kwargs)
        # Written last, so that of a chain of constructors the outermost (most specific) one stays.
        self.arguments = dict(list(bound.arguments.items())[1:])

    return wrapper


T = TypeVar("T", bound=Configured)


_SHOWN = 300
"""Number of characters shown of a library's message."""


def described(built: Configured, known: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Describe class and arguments of an object, as YAML and JSON can hold them.

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


def rebuilt(
    description: object, known: Mapping[str, type[T]], base: type[T], *leading: object, where: object = None
) -> T:
    """The object that ``described`` described.

    Args:
        description: class and arguments, of any file.
        known: classes by their short names.
        base: what it must be.
        leading: arguments that come first.
        where: the file that contains it, for the error; by default the class.

    Raises:
        InputError: it is damaged, there is no such class, or it does not take these arguments.
    """
    cls = described_class(description, known, base, where=where)
    path, arguments = name_and_arguments(description, base.__name__.lower(), where=where)
    try:
        return cls(*leading, **arguments)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            where or path, f"{path} needs more memory than there is", "make it smaller", code="too-large"
        ) from error
    except Exception as error:  # constructors reject arguments with many kinds of errors
        problem = f"cannot be built ({_short(error)})"
        if where is not None:
            problem = f"{path} {problem}"
        remedy = "correct its arguments" + (" in config.yaml" if where is None else "")
        raise InputError(where or path, problem, remedy, code="invalid-value") from error


def described_class(
    description: object, known: Mapping[str, type[T]], base: type[T], *, where: object = None
) -> type[T]:
    """The class of the object that ``described`` described. Nothing is imported.

    Raises:
        InputError: it is damaged, or there is no such class.
    """
    path, _ = name_and_arguments(description, base.__name__.lower(), where=where)
    return class_named(path, known, base, where=where)


def name_and_arguments(description: object, kind: str, *, where: object = None) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the object that ``described`` described, whether or not there is such a class.

    Args:
        description: of any file.
        kind: the kind of object, in a word.
        where: the file that contains it, for the error.

    Raises:
        InputError: it is damaged.
    """
    if not isinstance(description, Mapping) or not isinstance(description.get("class_path"), str):
        problem = f"is damaged (its {kind} has no class_path that is text)"
        raise InputError(where or kind, problem, "restore the file", code="damaged")
    arguments = description.get("init_args") or {}
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        problem = f"is damaged (init_args of the {kind} is no mapping of names to values)"
        raise InputError(where or kind, problem, "restore the file", code="damaged")
    return description["class_path"], dict(arguments)


def class_named(path: str, known: Mapping[str, type[T]], base: type[T], *, where: object = None) -> type[T]:
    """The class of a name, or of a dotted path into a module that is there already. Nothing is imported.

    Files of other people name classes. What is not a subclass of what is expected is never touched, and a class of
    the user's own is only found once the user has imported its module.

    Args:
        path: short name, or module and name.
        known: classes by their short names.
        base: what it must be.
        where: the file that names it, for the error; by default the path.

    Raises:
        InputError: there is no such class.
    """
    cls: object = known.get(path)
    if cls is None:
        module, _, name = path.rpartition(".")
        cls = vars(sys.modules[module]).get(name) if module in sys.modules else None
    subject = "" if where is None else f"class_path '{path}' "
    if not isinstance(cls, type):
        own = f"name one of Segmend, or `import {path.rpartition('.')[0]}` if you trust that module"
        remedy = own if "." in path.strip(".") else did_you_mean(path, known)
        raise InputError(where or path, f"{subject}is not known", remedy, code="unknown-name")
    if not issubclass(cls, base):
        raise InputError(
            where or path, f"{subject}is not a {base.__name__}", did_you_mean(path, known), code="unknown-name"
        )
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


def stated(value: Any) -> Any:
    """Plain data without what is None, so that files of versions that lack an argument agree with its default."""
    if isinstance(value, Mapping):
        return {key: stated(item) for key, item in value.items() if item is not None}
    return [stated(item) for item in value] if isinstance(value, list) else value


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
