"""Assignment of labelled cases to the folds of a cross-validation: that of a training, and that of an audit."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case, Quality, Split
from segmend.core.progress import track
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.state import DataState


def assign_folds(cases: Sequence[Case], folds: int, seed: int, duplicate_scans: Mapping[str, str]) -> dict[str, int]:
    """Assign cases to folds at random, stratified by quality of the label, annotator and domain.

    Args:
        cases: cases to assign.
        folds: number of folds; fewer if there are fewer cases.
        seed: seed of the random assignment.
        duplicate_scans: first case with the same scan, for every case that is not the first; both go into one fold,
            or the label of the scan that a model judges would be in its training set.

    Returns:
        Fold of each case by name, from 1.
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(duplicate_scans.get(case.name, case.name), []).append(case)

    def stratum(group: Sequence[Case]) -> tuple[str, str, str, bytes]:
        first = group[0]
        return first.quality, first.annotator, first.domain, _random_key(first.name, seed)

    order = sorted(groups.values(), key=stratum)
    return {case.name: 1 + place % folds for place, group in enumerate(order) for case in group}


def hide_fold(
    cases: Sequence[Case],
    fold_of: Mapping[str, int],
    fold: int,
    duplicate_scans: Mapping[str, str],
    *,
    keep_validation: bool = False,
) -> list[Case]:
    """Return all cases with the labels that the model of a fold may be trained on.

    The labels of the fold are held out, and those of other cases with the same scan.

    Args:
        cases: all cases of the data folder.
        fold_of: fold of each held-out case.
        fold: the fold, from 1.
        duplicate_scans: first case with the same scan, for every case that is not the first.
        keep_validation: keep the labels of the validation split. An audit hides them: it uses the last checkpoint and
            selects nothing with them.
    """
    hidden = {name for name, number in fold_of.items() if number == fold}
    scans = {duplicate_scans.get(name, name) for name in hidden}
    return [
        replace(case, quality=Quality.NONE)
        if (case.split is Split.VAL and not keep_validation)
        or case.name in hidden
        or duplicate_scans.get(case.name, case.name) in scans
        else case
        for case in cases
    ]


def scan_digest(image: NDArray[np.generic]) -> bytes:
    """Digest of shape and values of an array, equal for scans that were stored in different ways."""
    state = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(image).data)
    return state.digest()


def first_of_equal(digests: Mapping[str, bytes]) -> dict[str, str]:
    """For each case whose digest also belongs to an earlier case, the first such case."""
    first: dict[bytes, str] = {}
    found = {case: first.setdefault(digest, case) for case, digest in digests.items()}
    return {case: other for case, other in found.items() if case != other}


def find_duplicate_scans(folder: DataFolder, cases: Sequence[Case]) -> dict[str, str]:
    """For each case whose scan also belongs to an earlier case, the first such case.

    Only scans of equal sides are read.

    Raises:
        InputError: a scan cannot be used.
    """
    shapes = {case.name: read_grid(case.images[0]).shape for case in cases}
    count = Counter(shapes.values())
    compared = [case for case in cases if count[shapes[case.name]] > 1]
    digests = {case.name: scan_digest(load_case(case, folder).image) for case in track(compared, "comparing scans")}
    return first_of_equal(digests)


def _random_key(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()


@dataclass(frozen=True)
class Assignment:
    """Which fold holds out which labelled training case, and what the folds are trained by: ``folds.json``.

    Attributes:
        folds: number of folds.
        seed: seed of the assignment, and of the trainings.
        fold_of: fold of each labelled training case by name, from 1.
        duplicate_scans: first case with the same scan, for every case that is not the first.
        training: configuration of the trainings, as ``config.yaml`` has it, without paths.
        data: the state of all training and validation cases.
    """

    folds: int
    seed: int
    fold_of: Mapping[str, int]
    duplicate_scans: Mapping[str, str]
    training: Mapping[str, Any]
    data: DataState

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Assignment:
        """The reverse of ``to_json``.

        Raises:
            ValueError: a part is missing or of another kind.
        """
        try:
            folds, seed, fold_of = content["folds"], content["seed"], dict(content["cases"])
            numbers = [folds, seed, *fold_of.values()]
            if not all(type(number) is int for number in numbers) or set(fold_of.values()) != set(range(1, folds + 1)):
                raise ValueError("folds are not numbered from 1")
            same, training = dict(content["same_scan"]), dict(content["training"])
            return cls(folds, seed, fold_of, same, training, DataState.from_json(content["data"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(repr(error)) from error

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folds": self.folds,
            "seed": self.seed,
            "cases": dict(self.fold_of),
            "same_scan": dict(self.duplicate_scans),
            "training": dict(self.training),
            "data": asdict(self.data),
        }

    def held_out(self, fold: int) -> set[str]:
        """Names of the cases of a fold."""
        return {name for name, number in self.fold_of.items() if number == fold}

    def folder(self, folder: DataFolder, fold: int) -> DataFolder:
        """The data folder with the labels that the model of a fold may be trained on."""
        shown = hide_fold(folder.cases, self.fold_of, fold, self.duplicate_scans, keep_validation=True)
        return replace(folder, cases=tuple(shown))
