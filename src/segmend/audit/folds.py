"""Folds: which labels are held out from the model of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from segmend.core.case import Case, Quality, Split


def held_out_cases(cases: Sequence[Case]) -> list[Case]:
    """Training cases that are held out: those with noisy labels, or all labelled ones if none of these is noisy."""
    labelled = [case for case in cases if case.split is Split.TRAIN and case.training_label]
    return [case for case in labelled if case.quality is Quality.NOISY] or labelled


def assign_folds(cases: Sequence[Case], folds: int, seed: int, duplicate_scans: Mapping[str, str]) -> dict[str, int]:
    """Assign cases to folds at random, stratified by annotator and domain.

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
    order = sorted(groups.values(), key=lambda group: (group[0].annotator, group[0].domain, _lot(group[0].name, seed)))
    return {case.name: 1 + place % folds for place, group in enumerate(order) for case in group}


def with_fold_hidden(
    cases: Sequence[Case], fold_of: Mapping[str, int], fold: int, duplicate_scans: Mapping[str, str]
) -> list[Case]:
    """Return all cases with the labels that the model of a fold may be trained on.

    The labels of the fold are held out, and those of other cases with the same scan. So are validation labels,
    since the last checkpoint is used and nothing is selected with them.
    """
    hidden = {name for name, number in fold_of.items() if number == fold}
    scans = {duplicate_scans.get(name, name) for name in hidden}
    return [
        replace(case, quality=Quality.NONE)
        if case.split is Split.VAL or case.name in hidden or duplicate_scans.get(case.name, case.name) in scans
        else case
        for case in cases
    ]


def _lot(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
