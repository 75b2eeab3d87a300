"""The inputs of a result, per case, to detect later changes.

Files are identified by their contents: a modification time says little about files that were copied, restored or
synchronised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.paths import read_json
from segmend.core.tables import write_json
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder

_WORDS = {
    "label": "the label",
    "images": "the images",
    "soft": "the soft label",
    "split": "the split",
    "quality": "the quality",
    "annotator": "the annotator",
    "annotated": "the list of annotated classes",
}
_LISTED = 3


@dataclass(frozen=True)
class DataState:
    """The state of some cases of a data folder.

    Attributes:
        classes: class names and values, and what is ignored.
        channels: names of the channels.
        cases: by case, digests of its images and its label ('' if none is shown), and its entries in cases.csv.
    """

    classes: Mapping[str, int | None]
    channels: tuple[str, ...]
    cases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: DataFolder, cases: Iterable[Case]) -> Self:
        """Read every file of the cases.

        Raises:
            InputError: a file cannot be read.
        """
        states = {
            case.name: {
                "label": digest_of(case.training_label) if case.training_label else "",
                "images": digest_of(*case.images),
                **({"soft": digest_of(*case.soft)} if case.soft and case.training_label else {}),
                "split": str(case.split),
                "quality": str(case.quality),
                "annotator": case.annotator,
                **({"annotated": ", ".join(case.annotated)} if case.annotated else {}),
            }
            for case in cases
        }
        return cls({**folder.labels, "ignore": folder.ignore}, folder.channel_names, states)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The state in a file.

        Raises:
            InputError: the file is missing or damaged.
        """
        content = read_json(path)
        try:
            return cls.from_json(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                path, f"is damaged ({error!r})", "restore it, or choose another `out`", code="damaged"
            ) from error

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The state as ``dataclasses.asdict`` gives it.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: a part is missing or of another kind.
        """
        cases = {str(name): {str(k): str(v) for k, v in of.items()} for name, of in content["cases"].items()}
        return cls(dict(content["classes"]), tuple(content["channels"]), cases)

    def write(self, path: Path) -> None:
        """Write the state into a file, atomically."""
        write_json(path, asdict(self))

    def changes_since(self, before: DataState) -> str:
        """What has changed since an earlier state, in words; '' if nothing has."""
        changes = []
        if dict(self.classes) != dict(before.classes):
            changes.append("the classes in dataset.json have changed")
        if self.channels != before.channels:
            changes.append("the channels in dataset.json have changed")
        changes += _named("is new", sorted(self.cases.keys() - before.cases.keys()))
        changes += _named("is gone", sorted(before.cases.keys() - self.cases.keys()))
        both = sorted(self.cases.keys() & before.cases.keys())
        for key, word in _WORDS.items():
            names = [name for name in both if self.cases[name].get(key) != before.cases[name].get(key)]
            changes += [f"{word} of {_listed(names)} has changed"] if names else []
        return "; ".join(changes)


def _named(what: str, names: list[str]) -> list[str]:
    return [f"{_listed(names)} {what}"] if names else []


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ("case " if len(names) == 1 else "each of ") + ", ".join(names[:_LISTED]) + more
