"""The labels of a run as its method revises them: the given ones below, one revision over the other."""

from __future__ import annotations

import json
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder
from segmend.core.io import wait_for
from segmend.core.os_errors import explain_os_errors
from segmend.data.compressed import VoxelArray
from segmend.engine.revision_record import Record, is_finite
from segmend.methods import Revision

Array = NDArray[Any]

_REMEDY = "restore the run folder from a backup, or delete it and train again"


class LabelStore:
    """Given labels, which are never written to, and the revisions of them in a run folder.

    Revision 0 is the given labels. Revision n lies in a folder of that number, whole or not at all, with
    an array ``NAME/CASE.npy`` for each label and map that it revises, and is never changed. All other labels and maps
    are those of the revision before. Arrays are memory-mapped: processes that load data share them. Values are in the
    record ``revision.json``.

    Args:
        path: the folder; it need not exist.
        layers: label layers that may be revised.
        given: label of every case, ``[*spatial]`` uint8 class indices.
        steps: at which labels are revised: the first that sees revision 1, that sees revision 2 ...
        maps: names of the maps that revisions may hold; none is the name of a layer.
        values: names of the values that revisions may hold.

    Attributes:
        layers, maps, values: what revisions may hold.
        steps: at which labels are revised.
    """

    def __init__(
        self,
        path: Path,
        layers: Sequence[str],
        given: Mapping[str, VoxelArray],
        steps: Sequence[int] = (),
        *,
        maps: Sequence[str] = (),
        values: Sequence[str] = (),
    ) -> None:
        self.layers, self.maps, self.values = tuple(layers), tuple(maps), tuple(values)
        self.steps = tuple(steps)
        if shared := {*layers} & {*maps}:
            raise ValueError(f"'{min(shared)}' is the name of a layer and of a map")
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
                raise InputError(file, f"cannot be read ({error})", _REMEDY, code="missing-file") from error
            except (OSError, ValueError, TypeError, RecursionError) as error:
                raise InputError(file, f"is damaged ({error})", _REMEDY, code="damaged") from error
        return self._records[revision]

    def label(self, case: str, layer: str, revision: int) -> VoxelArray:
        """The label ``[*spatial]`` of a case as of a revision; not to be written to.

        Raises:
            InputError: a revision is not there, or damaged.
        """
        holder = self.holder(case, layer, revision)
        return self._read(holder, layer, case) if holder else self._given[case]

    def map(self, case: str, name: str, revision: int) -> Array:
        """The map ``[*spatial]`` of a case as of a revision, of an integer type; -1 everywhere if there is none.

        Raises:
            InputError: a revision is not there, or damaged.
        """
        holder = self.holder(case, name, revision)
        return self._read(holder, name, case) if holder else np.broadcast_to(np.int32(-1), self._given[case].shape)

    def value(self, case: str, name: str, revision: int) -> Sequence[float]:
        """The value of a case as of a revision, or those of its slices; one NaN if there is none.

        Raises:
            InputError: a revision is not there, or damaged.
        """
        for number in range(revision, 0, -1):
            if (found := self.record(number).values.get(name, {}).get(case)) is not None:
                if len(found) not in self._counts(case):
                    file = self._folder(number) / "revision.json"
                    raise InputError(
                        file, f"is damaged ({len(found)} values '{name}' of case '{case}')", _REMEDY, code="damaged"
                    )
                return found
        return [float("nan")]

    def holder(self, case: str, name: str, revision: int) -> int:
        """The revision that a label or map of a case as of a revision is from; 0 if it was never revised."""
        return next((n for n in range(revision, 0, -1) if self.record(n).holds(case, name)), 0)

    def sampling_weights(self, revision: int) -> Mapping[str, float]:
        """Return the sampling weights by case as of a revision, >= 0; 1 for cases without one.

        Raises:
            InputError: the revision is not there, or damaged.
        """
        return self.record(revision).sampling_weights if revision else {}

    def append(self, method: str, revisions: Iterable[Revision]) -> None:
        """Write the next revision; it becomes visible when it is whole.

        Args:
            method: that makes it.
            revisions: what is revised of each case; asked for one by one.

        Raises:
            InputError: the disk is full or cannot be written to.
            ValueError: an array or value does not fit its case, or there is no layer, map or value of that name.
        """
        number = self.count + 1
        record = Record(
            method,
            self.steps[number - 1],
            {layer: {} for layer in self.layers},
            {name: [] for name in self.maps},
            {name: {} for name in self.values},
        )
        with atomic_folder(self._folder(number)) as folder:
            for revision in revisions:
                self._add(revision, record, folder, number - 1)
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
            raise InputError(
                missing, "is missing", "restore it, or delete the checkpoints to start again", code="missing-file"
            )
        for revision in range(1, self.count + 1):
            record = self.record(revision)
            for name, cases in (record.changed | record.maps).items():
                for case in cases:
                    self._read(revision, name, case)
            for name, by_case in record.values.items():
                for case in by_case:
                    self.value(case, name, revision)

    def wait_for(self, revision: int) -> None:
        """Returns when a revision is there that another process writes; at once for revision 0.

        Raises:
            InputError: the process that started this one has ended, or it took too long.
        """
        if revision:
            wait_for(self._folder(revision))

    def _add(self, revision: Revision, record: Record, folder: Path, before: int) -> None:
        """Add what is revised of one case to a folder and its record, by comparison with the revision before."""
        case = revision.case
        for layer, label in revision.labels.items():
            new = self._fitting(case, layer, self.layers, "layer", label.cpu().numpy())
            record.changed[layer][case] = int(np.count_nonzero(new != np.asarray(self.label(case, layer, before))))
            _save(folder / layer / f"{case}.npy", new)
        for name, numbers in revision.maps.items():
            _save(folder / name / f"{case}.npy", self._fitting(case, name, self.maps, "map", numbers.cpu().numpy()))
            record.maps[name].append(case)
        for name, value in revision.values.items():
            self._require(case, name, self.values, "value")
            values = [value] if isinstance(value, int | float) else list(value)
            if len(values) not in self._counts(case) or not all(map(is_finite, values)):
                raise ValueError(f"value '{name}' of case '{case}' is not one finite number, or one of each slice")
            record.values[name][case] = values
        record.report.extend({"case": case, **row} for row in revision.report)
        if revision.sampling_weight is not None:
            record.sampling_weights[case] = revision.sampling_weight

    def _fitting(self, case: str, name: str, names: Sequence[str], kind: str, array: Array) -> Array:
        """A new label or map, if it fits its case."""
        self._require(case, name, names, kind)
        if problem := _misfit(array, self._given[case].shape, is_label=kind == "layer"):
            raise ValueError(f"{kind} '{name}' of case '{case}' {problem}")
        return array

    def _require(self, case: str, name: str, names: Sequence[str], kind: str) -> None:
        if name not in names or case not in self._given:
            known = f"{kind}s are {', '.join(names)}"
            raise ValueError(f"there is no {kind} '{name}' of case '{case}'; {known}")

    def _counts(self, case: str) -> tuple[int, int]:
        """How many values there may be: one of the case, or one of each slice."""
        return 1, self._given[case].shape[-1]

    def _read(self, revision: int, name: str, case: str) -> Array:
        file = self._folder(revision) / name / f"{case}.npy"
        try:
            array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(file, f"is damaged ({error})", _REMEDY, code="damaged") from error
        if problem := _misfit(array, self._given[case].shape, is_label=name in self.layers):
            raise InputError(file, f"is damaged (it {problem})", _REMEDY, code="damaged")
        return array

    def _folder(self, revision: int) -> Path:
        return self._path / f"{revision:04d}"


def _misfit(array: Array, shape: tuple[int, ...], *, is_label: bool) -> str:
    """Why an array cannot be a label or a map of a case; "" if it can."""
    fits = array.dtype == np.uint8 if is_label else array.dtype.kind in "iu"
    if fits and array.shape == shape:
        return ""
    return f"is {array.dtype} {array.shape}, not {'uint8' if is_label else 'of an integer type'} {shape}"


def _save(file: Path, array: Array) -> None:
    file.parent.mkdir(exist_ok=True)
    np.save(file, array)
