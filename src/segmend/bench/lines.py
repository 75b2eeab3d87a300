"""YAML files whose values remember where they stand, so that an error can name the line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segmend.errors import InputError, did_you_mean

Place = tuple[str, ...]
"""Keys that lead to a value."""


@dataclass(frozen=True)
class Document:
    """The content of a YAML file.

    Attributes:
        content: plain mappings, lists and scalars.
        places: where each value of a mapping stands, as ``FILE line N``.
    """

    content: dict[str, Any]
    places: Mapping[Place, str]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Reads a file.

        Raises:
            InputError: it cannot be read, is no mapping, or a key stands twice in one mapping.
        """
        try:
            loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
            places: dict[Place, str] = {}
            content = _plain(loader, node, (), path, places) if node else None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(path, f"cannot be read ({error})", "give a YAML file") from error
        except yaml.YAMLError as error:
            raise InputError(path, f"is not YAML ({' '.join(str(error).split())})", "correct it") from error
        if not isinstance(content, dict):
            raise InputError(path, "is not a mapping", "see the plans that come with Segmend for an example")
        return cls(content, places)

    def over(self, base: Document) -> Document:
        """This document laid over another: mappings are joined key by key, all else replaces, null removes."""
        return Document(_merged(base.content, self.content), {**base.places, **self.places})

    def where(self, place: Place) -> str:
        """File and line of a value, or of the nearest mapping around it that is written down."""
        while place and place not in self.places:
            place = place[:-1]
        return self.places.get(place, "plan")

    def check_keys(self, place: Place, known: Mapping[str, Any] | set[str], what: str) -> None:
        """Makes sure that the mapping at a place has known keys only.

        Raises:
            InputError: there is another one, or no mapping.
        """
        content: Any = self.content
        for key in place:
            content = content[key]
        if not isinstance(content, dict):
            raise InputError(self.where(place), f"'{place[-1]}' is not a mapping", "write 'key: value' lines below it")
        for key in content:
            if key not in known:
                raise InputError(self.where((*place, key)), f"'{key}' is not {what}", did_you_mean(key, known))


def _plain(loader: yaml.SafeLoader, node: yaml.Node, place: Place, path: Path, places: dict[Place, str]) -> Any:
    places.setdefault(place, f"{path} line {node.start_mark.line + 1}")
    if node.tag not in loader.yaml_constructors:
        loader.construct_undefined(node)  # raises
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, child, (*place, str(index)), path, places) for index, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    content: dict[str, Any] = {}
    for key_node, child in node.value:
        key = str(key_node.value)
        line = f"{path} line {key_node.start_mark.line + 1}"
        if key in content:
            raise InputError(line, f"'{key}' stands twice", "keep one of the two")
        places[*place, key] = line
        content[key] = _plain(loader, child, (*place, key), path, places)
    return content


def _merged(base: Any, above: Any) -> Any:
    if not isinstance(above, dict):
        return above
    joined = dict(base) if isinstance(base, dict) else {}
    for key, value in above.items():
        if value is None:
            joined.pop(key, None)
        else:
            joined[key] = _merged(joined.get(key), value)
    return joined
