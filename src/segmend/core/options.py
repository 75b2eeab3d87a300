"""Groups of settings as one value in code, and as one argument each for those who call a function."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from inspect import Parameter
from typing import Any, ParamSpec, TypeVar, get_type_hints

P = ParamSpec("P")
T = TypeVar("T")


def spread(parameter: str) -> Callable[[Callable[P, T]], Callable[..., T]]:
    """Let callers give the fields of a dataclass as arguments of their own.

    Code that passes settings on takes the group as one value; the command line, plans and Python callers name each
    setting. Only this decorator knows both forms, so that no setting is listed twice. A caller may also give the group
    itself; fields that are given with it replace its own. A group with a method ``merged`` does that by itself, for
    example to let one field decide about others that are not given.

    Args:
        parameter: the argument that takes the group. Its default holds the defaults of all fields.

    Returns:
        A decorator. The decorated function shows the fields in its signature, in the place of the group.

    Raises:
        TypeError: at decoration, the argument has no default that is a dataclass.
    """

    def decorate(function: Callable[P, T]) -> Callable[..., T]:
        signature = inspect.signature(function, eval_str=True)
        default = signature.parameters[parameter].default
        if not hasattr(default, "__dataclass_fields__"):
            raise TypeError(f"{parameter} of {function.__name__} must have a dataclass instance as its default")
        hints = get_type_hints(type(default))
        names = [field.name for field in fields(default)]

        @functools.wraps(function)
        def call(*positional: Any, **given: Any) -> T:
            group = given.pop(parameter, default)
            own = {name: given.pop(name) for name in names if name in given}
            merge = getattr(group, "merged", None) or partial(replace, group)
            return function(*positional, **{parameter: merge(**own)}, **given)

        shown: list[Parameter] = []
        for each in signature.parameters.values():
            if each.name == parameter:
                shown += [
                    Parameter(name, Parameter.KEYWORD_ONLY, default=getattr(default, name), annotation=hints[name])
                    for name in names
                ]
            else:
                shown.append(each)
        call.__doc__ = _documented(inspect.getdoc(function) or "", parameter, inspect.getdoc(type(default)) or "")
        del call.__wrapped__  # or its signature would be taken for that of the call
        # Functions have no such attribute for mypy; inspect.signature() looks for it.
        call.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        call.__annotations__ = {each.name: each.annotation for each in shown} | {"return": signature.return_annotation}
        return call

    return decorate


def _documented(text: str, parameter: str, of_group: str) -> str:
    """A docstring in which the entry of a group is replaced by those of its fields."""
    fields_of_group = re.search(r"^Attributes:\n((?:    .*\n?|\n(?=    ))*)", of_group, re.MULTILINE)
    entry = re.compile(rf"^    {parameter}: .*\n(?:     +.*\n)*", re.MULTILINE)
    inner = fields_of_group.group(1).rstrip() + "\n" if fields_of_group else ""
    return entry.sub(lambda _: inner, text, count=1)
