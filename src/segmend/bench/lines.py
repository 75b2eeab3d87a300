"""YAML files that record the position of their values, so that an error can name the line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmend.core.documents import Place, read_yaml
from segmend.core.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Document:
    """The content of a YAML file.

    Attributes:
        content: plain mappings, lists and scalars.
        places: position of each value of a mapping, as ``FILE line N``.
    """

    content: dict[str, Any]
    places: Mapping[Place, str]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Reads a file.

        Raises:
            InputError: it cannot be read, is not a mapping, or a key occurs twice in one mapping.
        """
        content, places = read_yaml(path)
        if not isinstance(content, dict):
            raise InputError(
                path, "is not a mapping", "see the plans that come with Segmend for an example", code="invalid-value"
            )
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
        """Check that the mapping at a place has known keys only.

        Raises:
            InputError: there is another one, or no mapping.
        """
        content: Any = self.content
        for key in place:
            content = content[key]
        if not isinstance(content, dict):
            raise InputError(
                self.where(place),
                f"'{place[-1]}' is not a mapping",
                "write 'key: value' lines below it",
                code="invalid-value",
            )
        for key in content:
            if key not in known:
                raise InputError(
                    self.where((*place, key)), f"'{key}' is not {what}", did_you_mean(key, known), code="unknown-name"
                )


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
