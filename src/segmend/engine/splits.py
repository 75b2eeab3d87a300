"""The folds of an nnU-Net cross-validation: ``splits_final.json`` in the folder of its preprocessed data.

A list with an entry for each fold, ``{"train": [names], "val": [names]}``. nnU-Net counts folds from 0, Segmend from 1.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.paths import FOLDER, kind_of, read_bytes
from segmend.data.finding import remedy_of_name

FILE = "splits_final.json"

_FORM = 'write [{"train": ["CASE", ...], "val": ["CASE", ...]}, ...], as nnU-Net does'
_REMEDY = "correct the file, or let `folds` assign the cases"


@dataclass(frozen=True)
class Splits:
    """Which fold holds out which cases.

    Attributes:
        path: the file.
        train: names of the training cases of each fold.
        val: names of the held-out cases of each fold.
    """

    path: Path
    train: tuple[tuple[str, ...], ...]
    val: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, path: Path) -> Splits:
        """Read a file, or that of nnU-Net's folder of a preprocessed data set.

        Raises:
            InputError: it is missing or of another form, or has fewer than two folds.
        """
        file = path / FILE if kind_of(path) == FOLDER else path
        raw = read_bytes(file, f"give {FILE} of nnUNet_preprocessed, or its folder")
        try:
            content = json.loads(raw.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError(file, f"is not valid JSON ({error})", _FORM, code="damaged") from error
        if not isinstance(content, list) or not all(map(_is_fold, content)):
            raise InputError(file, "does not list the cases of folds", _FORM, code="invalid-value")
        if len(content) < 2:
            raise InputError(file, f"has {len(content)} fold, but 2 are needed", _REMEDY, code="invalid-value")
        train, val = (tuple(tuple(fold[key]) for fold in content) for key in ("train", "val"))
        return cls(file, train, val)

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self.val)

    def assign(self, cases: Sequence[Case], known: Collection[str]) -> dict[str, int]:
        """The fold that holds out each case, from 1.

        Args:
            cases: those to assign. Each must be held out once, and be a training case of all other folds, since a fold
                is trained on all cases that it does not hold out.
            known: names of all cases of the data folder.

        Returns:
            Fold of each case by name.

        Raises:
            InputError: the file is of other cases, or does not assign them in this way.
        """
        named = {name for part in (*self.train, *self.val) for name in part}
        for name in sorted(named):
            if name not in known:
                problem = f"names '{name}', which is no case of the data folder"
                raise InputError(self.path, problem, remedy_of_name(name, known), code="unknown-name")
        fold_of: dict[str, int] = {}
        for case in cases:
            held = [fold for fold, names in enumerate(self.val, start=1) if case.name in names]
            if len(held) != 1:
                times = f"in {len(held)} folds ({', '.join(str(fold - 1) for fold in held)})" if held else "in no fold"
                problem = f"holds out case '{case.name}' {times}, but each is to be held out once"
                raise InputError(self.path, problem, _REMEDY, code="mismatch")
            fold_of[case.name] = held[0]
        self._check_training(fold_of)
        empty = sorted(set(range(1, self.folds + 1)) - set(fold_of.values()))
        if empty:
            problem = f"holds out no labelled case in fold {empty[0] - 1}"
            raise InputError(self.path, problem, _REMEDY, code="mismatch")
        return fold_of

    def _check_training(self, fold_of: dict[str, int]) -> None:
        for fold, names in enumerate(self.train, start=1):
            trained = set(names)
            both = sorted(name for name, held in fold_of.items() if held == fold and name in trained)
            if both:
                problem = f"has case '{both[0]}' among the training and the held-out cases of fold {fold - 1}"
                raise InputError(self.path, problem, _REMEDY, code="mismatch")
            left_out = sorted(name for name, held in fold_of.items() if held != fold and name not in trained)
            if left_out:
                problem = f"leaves {len(left_out)} cases out of the training of fold {fold - 1} ('{left_out[0]}')"
                remedy = f"a fold is trained on all cases that it does not hold out: {_REMEDY}"
                raise InputError(self.path, problem, remedy, code="unsupported")


def _is_fold(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), list) and all(isinstance(name, str) for name in entry[key])
        for key in ("train", "val")
    )
