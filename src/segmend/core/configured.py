"""Objects that record how they were built, so that a run can save and rebuild them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar


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
