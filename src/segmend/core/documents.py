"""YAML files as plain values; reading untrusted files runs no code and needs little memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from segmend.core.errors import InputError

Place = tuple[str, ...]
"""Path of keys to a value."""

_MOST_BYTES: Final = 2**20
_MOST_VALUES: Final = 100_000
_DEEPEST: Final = 40
_SHOWN: Final = 100
_PLAIN_TAGS: Final = tuple(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+|[0-9]+\.[0-9]*|\.[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)


class DamagedError(ValueError):
    """The content of a file or a part of it is invalid; the message says what is wrong, without the file."""


def read_yaml(path: Path) -> tuple[Any, Mapping[Place, str]]:
    """Read a YAML file into mappings with text keys, lists, text, numbers, booleans and null.

    Tags that name Python objects are refused, and so are duplicate keys, and files that are large, nested deeply or
    blown up by aliases.

    Args:
        path: the file.

    Returns:
        Its content, and the position of each value of a mapping, as ``FILE line N``.

    Raises:
        InputError: the file cannot be read, or is not such a file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({_reason(error)})", "give a YAML file", code="unreadable") from error
    if len(content) > _MOST_BYTES:
        raise InputError(
            path, "is larger than 1 MiB, which no YAML file of Segmend is", "give another file", code="unsupported"
        )
    try:
        return parse_yaml(text, path)
    except yaml.YAMLError as error:
        raise InputError(path, f"is not YAML ({' '.join(str(error).split())})", "correct it", code="damaged") from error
    except (DamagedError, RecursionError) as error:
        raise InputError(path, f"cannot be used: it {_reason(error)}", "correct it", code="damaged") from error


def parse_yaml(text: str, where: object) -> tuple[Any, Mapping[Place, str]]:
    """Read YAML text as ``read_yaml`` reads a file.

    Args:
        text: YAML.
        where: what to call it in error messages.

    Raises:
        InputError: a key occurs twice.
        YAMLError: it is not YAML.
        DamagedError, RecursionError: it is nested too deeply or holds too many values.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        reading = _Reading(loader, where)
        return (reading.plain(node, ()) if node else None), reading.places
    finally:
        loader.dispose()


def yaml_text(value: Any) -> str:
    """Plain values as YAML in one line, which ``read_yaml`` would read as the same."""
    return str(yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=math.inf, sort_keys=False))


class _Loader(yaml.SafeLoader):
    """A loader of plain values, to which ``1e-3`` is a number and ``2024-01-31`` is text."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN_TAGS and not tag.endswith(":float")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Puts quotes around text that a reader of YAML 1.1 or 1.2 would take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789."))


class _Reading:
    """Converts the nodes of one YAML text into values, and records their positions."""

    def __init__(self, loader: _Loader, where: object) -> None:
        self.places: dict[Place, str] = {}
        self._loader, self._where, self._values = loader, where, 0

    def plain(self, node: yaml.Node, place: Place) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise DamagedError(f"holds more than {_MOST_VALUES} values, counting those that aliases repeat")
        if len(place) > _DEEPEST:
            raise DamagedError(f"is nested more than {_DEEPEST} levels deep")
        self.places.setdefault(place, self._line(node))
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.plain(child, (*place, str(index))) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, place)
        if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN_TAGS:
            return self._scalar(node)
        problem = f"could not determine a constructor for the tag {node.tag!r}: only plain values are read"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise DamagedError("has a key that is a list or a mapping")
            key, line = str(key_node.value), self._line(key_node)
            if key in content:
                raise InputError(line, f"'{key}' stands twice", "keep one of the two", code="duplicate")
            self.places[*place, key] = line
            content[key] = self.plain(child, (*place, key))
        return content

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return self._loader.construct_object(node)
        except ValueError as error:  # a number of thousands of digits, or !!int of text
            kind = node.tag.rpartition(":")[2]
            raise DamagedError(f"holds a value that is no {kind}: {str(error)[:_SHOWN]}") from error

    def _line(self, node: yaml.Node) -> str:
        return f"{self._where} line {node.start_mark.line + 1}"


def is_number(value: object) -> bool:
    """Whether a value is a finite number; true and false are not numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value: object) -> bool:
    """Whether a value is a whole number; true and false are not numbers."""
    return isinstance(value, int) and not isinstance(value, bool)


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
