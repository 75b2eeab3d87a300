"""Which labels each fold's model must not see."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from segmend.core.case import Case, Quality, Split


def to_judge(cases: Sequence[Case]) -> list[Case]:
    """Training cases that are held out: those with noisy labels, or all labelled ones if none of these is noisy."""
    labelled = [case for case in cases if case.split is Split.TRAIN and case.shown_label]
    return [case for case in labelled if case.quality is Quality.NOISY] or labelled


def assign_folds(cases: Sequence[Case], folds: int, seed: int, twins: Mapping[str, str]) -> dict[str, int]:
    """Deals cases to folds by lot, evenly for each annotator and domain.

    Args:
        cases: to be dealt.
        folds: how many there are; fewer if there are fewer cases.
        seed: decides the lot.
        twins: first case with the same scan, of every case that is not the first; both go into one fold, or
            a model would have seen the label of the scan that it judges.

    Returns:
        Fold of each case by name, from 1.
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(twins.get(case.name, case.name), []).append(case)
    order = sorted(groups.values(), key=lambda group: (group[0].annotator, group[0].domain, _lot(group[0].name, seed)))
    return {case.name: 1 + place % folds for place, group in enumerate(order) for case in group}


def with_fold_hidden(
    cases: Sequence[Case], dealt: Mapping[str, int], fold: int, twins: Mapping[str, str]
) -> list[Case]:
    """All cases as the model of a fold may see them.

    The labels of the fold are hidden, and those of other cases with the same scan. So are validation labels,
    since the last checkpoint is used and nothing is chosen by them.
    """
    hidden = {name for name, number in dealt.items() if number == fold}
    scans = {twins.get(name, name) for name in hidden}
    return [
        replace(case, quality=Quality.NONE)
        if case.split is Split.VAL or case.name in hidden or twins.get(case.name, case.name) in scans
        else case
        for case in cases
    ]


def _lot(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
