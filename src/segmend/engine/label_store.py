"""The labels of a run as its method rewrites them: the given ones below, one revision over the other."""

from __future__ import annotations

import json
import math
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder
from segmend.core.io import wait_for
from segmend.core.os_errors import explain_os_errors

_REMEDY = "restore the run folder from a backup, or delete it and train again"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a revision.

    Attributes:
        method: that made it.
        step: the first one that uses it.
        changed: voxels that differ from the revision before, by layer and case; of the rewritten labels only.
        offsets: shifts of surfaces and their reasons, a row for each case and class, of methods that move surfaces.
        sampling_weights: sampling weights by case, of methods that set them.
    """

    method: str
    step: int
    changed: dict[str, dict[str, int]]
    offsets: list[dict[str, str | float]] = field(default_factory=list)
    sampling_weights: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Any, layers: Sequence[str]) -> Record:
        """The record that was written as JSON.

        Raises:
            ValueError, TypeError: it is not one of these layers.
        """
        record = cls(**content)
        counts = [count for layer in layers for count in _mapping(_mapping(record.changed).get(layer)).values()]
        weights = _mapping(record.sampling_weights).values()
        if type(record.step) is not int or not all(type(count) is int for count in counts):
            raise ValueError("a step or a number of voxels is not a whole number")
        if not all(isinstance(weight, int | float) and 0 <= weight < math.inf for weight in weights):
            raise ValueError("a sampling weight is not a number of 0 or more")
        if not isinstance(record.offsets, list) or not all(
            {"case", "label"} <= set(_mapping(r)) for r in record.offsets
        ):
            raise ValueError("an offset lacks its case or label")
        return record


class LabelStore:
    """Given labels, which are never written to, and the revisions of them in a run folder.

    Revision 0 is the given labels. Revision n lies in a folder of that number, whole or not at all, with
    an array ``LAYER/CASE.npy`` for each label that it rewrites, and is never changed. All other labels are
    those of the revision before. Arrays are memory-mapped: processes that load data share them.

    Args:
        path: the folder; it need not exist.
        layers: that may be rewritten.
        given: label of every case, ``[*spatial]`` uint8 class indices.
        steps: at which labels are rewritten: the first that sees revision 1, that sees revision 2 ...

    Attributes:
        layers: that may be rewritten.
        steps: at which labels are rewritten.
    """

    def __init__(
        self, path: Path, layers: Sequence[str], given: Mapping[str, NDArray[np.uint8]], steps: Sequence[int] = ()
    ) -> None:
        self.layers, self.steps = tuple(layers), tuple(steps)
        self._path, self._given = path, given
        self._records: dict[int, Record] = {}

    @property
    def count(self) -> int:
        """Number of revisions that are there; those before a gap, if there is one."""
        number = 0
        while self._folder(number + 1).is_dir():
            number += 1
        return number

    def due(self, step: int) -> int:
        """Number of the revision whose labels a step sees."""
        return bisect_right(self.steps, step)

    def record(self, revision: int) -> Record:
        """What is known of a revision, counted from 1.

        Raises:
            InputError: it is not there, or damaged.
        """
        if revision not in self._records:
            file = self._folder(revision) / "revision.json"
            try:
                self._records[revision] = Record.from_json(json.loads(file.read_text(encoding="utf-8")), self.layers)
            except FileNotFoundError as error:
                raise InputError(file, f"cannot be read ({error})", _REMEDY) from error
            except (OSError, ValueError, TypeError, RecursionError) as error:
                raise InputError(file, f"is damaged ({error})", _REMEDY) from error
        return self._records[revision]

    def label(self, case: str, layer: str, revision: int) -> NDArray[np.uint8]:
        """The label ``[*spatial]`` of a case as of a revision; not to be written to.

        Raises:
            InputError: a revision is not there, or damaged.
        """
        holder = self.holder(case, layer, revision)
        if not holder:
            return self._given[case]
        file, shape = self._folder(holder) / layer / f"{case}.npy", self._given[case].shape
        try:
            label: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(file, f"is damaged ({error})", _REMEDY) from error
        if label.dtype != np.uint8 or label.shape != shape:
            problem = f"is damaged (it must hold uint8 of shape {shape}, but holds {label.dtype} of {label.shape})"
            raise InputError(file, problem, _REMEDY)
        return label

    def holder(self, case: str, layer: str, revision: int) -> int:
        """The revision that the label of a case as of a revision is from; 0 if it was never rewritten."""
        return next((n for n in range(revision, 0, -1) if case in self.record(n).changed[layer]), 0)

    def sampling_weights(self, revision: int) -> Mapping[str, float]:
        """Return the sampling weights by case as of a revision, >= 0; 1 for cases without one.

        Raises:
            InputError: the revision is not there, or damaged.
        """
        return self.record(revision).sampling_weights if revision else {}

    def append(
        self,
        method: str,
        labels: Iterable[tuple[str, str, NDArray[np.uint8]]],
        offsets: list[dict[str, str | float]] | None = None,
        sampling_weights: dict[str, float] | None = None,
    ) -> None:
        """Writes the next revision; it becomes visible when it is whole.

        Args:
            method: that makes it.
            labels: case, layer and label ``[*spatial]`` of those that are rewritten; asked for one by one.
            offsets: rows for the record; may be filled while the labels are asked for.
            sampling_weights: by case, for the record; may also be filled while the labels are asked for.

        Raises:
            InputError: the disk is full or cannot be written to.
            ValueError: a label does not fit its case, or there is no such layer.
        """
        revision = self.count + 1
        record = Record(method, self.steps[revision - 1], {layer: {} for layer in self.layers})
        with atomic_folder(self._folder(revision)) as folder:
            for case, layer, label in labels:
                before = self._checked_before(case, layer, label, revision)
                record.changed[layer][case] = int(np.count_nonzero(label != before))
                (folder / layer).mkdir(exist_ok=True)
                np.save(folder / layer / f"{case}.npy", label)
            record.offsets.extend(offsets or [])
            record.sampling_weights.update(sampling_weights or {})
            (folder / "revision.json").write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")

    def rewind(self, done: int, *, revised: bool = True) -> None:
        """Brings the store to where a run continues: removes what a killed run wrote beyond its last checkpoint.

        Args:
            done: steps done at that checkpoint; 0 without one.
            revised: whether it was written after the revision that followed the last of these steps, if one did.

        Raises:
            InputError: a revision that these steps have seen is missing or damaged.
        """
        last = self.due(done if revised else done - 1)
        kept = {self._folder(revision).name for revision in range(1, last + 1)} if done else set()
        with explain_os_errors(self._path):
            for entry in self._path.iterdir() if self._path.is_dir() else ():
                if entry.name not in kept:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._records.clear()
        if self.count < self.due(done - 1):
            missing = self._folder(self.count + 1)
            raise InputError(missing, "is missing", "restore it, or delete the checkpoints to start again")
        for revision in range(1, self.count + 1):
            for layer, changed in self.record(revision).changed.items():
                for case in changed:
                    self.label(case, layer, revision)

    def wait_for(self, revision: int) -> None:
        """Returns when a revision is there that another process writes; at once for revision 0.

        Raises:
            InputError: the process that started this one has ended, or it took too long.
        """
        if revision:
            wait_for(self._folder(revision))

    def _checked_before(self, case: str, layer: str, label: NDArray[np.uint8], revision: int) -> NDArray[np.uint8]:
        """The label that a new one takes the place of."""
        if layer not in self.layers or case not in self._given:
            raise ValueError(f"there is no layer '{layer}' of case '{case}'; layers are {', '.join(self.layers)}")
        before = self.label(case, layer, revision - 1)
        if label.dtype != np.uint8 or label.shape != before.shape:
            raise ValueError(f"label of case '{case}' is {label.dtype} {label.shape}, not uint8 {before.shape}")
        return before

    def _folder(self, revision: int) -> Path:
        return self._path / f"{revision:04d}"


def _mapping(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError(f"{content!r:.50} stands where names and values should")
    return content
