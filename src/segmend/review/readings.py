"""Several readers of one audit: what all of them say together, how much each has decided, and how well they agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from segmend.review.decisions import REPLACE, UNSURE, Decision, Subject

_TOGETHER = "; "
"""Between readers in one cell."""


@dataclass(frozen=True)
class Combined:
    """What all readers say together.

    Attributes:
        decisions: one a subject; its reader names all who decided.
        disagreed: about how many subjects they differ.
    """

    decisions: Sequence[Decision]
    disagreed: int


def expanded(decisions: Iterable[Decision], labels_of: Mapping[str, Sequence[str]]) -> list[Decision]:
    """The decisions label by label: who gave a new label file of a case has decided on all of its labels by that.

    Args:
        decisions: of any readers.
        labels_of: audited labels of each case.
    """
    given = list(decisions)
    replaced = {(each.reader, each.subject.case) for each in given if each.decision == REPLACE}
    found: list[Decision] = []
    for each in given:
        if each.decision == REPLACE:
            found += [
                replace(each, subject=Subject(each.subject.case, label)) for label in labels_of[each.subject.case]
            ]
        elif (each.reader, each.subject.case) not in replaced:
            found.append(each)
    return found


def combine(decisions: Iterable[Decision], labels_of: Mapping[str, Sequence[str]]) -> Combined:
    """What all who decided on a label or region agree on, or else unsure, with what each of them said as the comment.

    A new label file counts for the whole case if no reader has said anything else of any of its labels.

    Args:
        decisions: of all readers.
        labels_of: audited labels of each case.
    """
    given = list(decisions)
    whole, rest = _replaced(given)
    by_subject: dict[Subject, list[Decision]] = {}
    for each in expanded(rest, labels_of):
        by_subject.setdefault(each.subject, []).append(each)
    found = [*whole, *[_together(of_subject) for of_subject in by_subject.values()]]
    differ = sum(len({(each.decision, each.file) for each in of_subject}) > 1 for of_subject in by_subject.values())
    return Combined(found, differ)


def _replaced(decisions: Sequence[Decision]) -> tuple[list[Decision], list[Decision]]:
    """New labels of whole cases that all who decided on the case agree on, and the decisions on all other cases."""
    by_case: dict[str, list[Decision]] = {}
    for each in decisions:
        by_case.setdefault(each.subject.case, []).append(each)
    whole, rest = [], []
    for of_case in by_case.values():
        replacing = [each for each in of_case if each.decision == REPLACE]
        others = {each.reader for each in of_case} - {each.reader for each in replacing}
        if replacing and not others and len({each.file for each in replacing}) == 1:
            whole.append(_together(replacing))
        else:
            rest += of_case
    return whole, rest


def _together(decisions: Sequence[Decision]) -> Decision:
    first = decisions[0]
    said = {each.reader: each for each in decisions}
    comments = [
        f"{each.reader}: {each.comment}" if len(said) > 1 else each.comment for each in said.values() if each.comment
    ]
    combined = replace(
        first,
        reader=_TOGETHER.join(said),
        comment=_TOGETHER.join(comments),
        time=max(each.time for each in decisions),
    )
    if len({(each.decision, each.file) for each in decisions}) == 1 and not (
        first.decision == REPLACE and first.subject.label
    ):
        return combined
    words = ", ".join(f"{reader} {each.decision}" for reader, each in said.items())
    return replace(combined, decision=UNSURE, comment=_TOGETHER.join([words, *comments]), file="")


def progress(
    decisions: Iterable[Decision], rows: Mapping[tuple[str, str], int], suspect: Sequence[bool]
) -> dict[str, Any]:
    """How much a reader has decided, by label.

    Args:
        decisions: of the reader, label by label.
        rows: number of each audited label, by case and label.
        suspect: whether each of them is suspect.
    """
    of_labels = {
        (each.subject.case, each.subject.label): each.decision for each in decisions if each.subject.region is None
    }
    counts = Counter(of_labels[key] for key in of_labels if key in rows)
    decided, doubtful = sum(counts.values()), sum(suspect)
    seen = sum(suspect[rows[key]] for key in of_labels if key in rows)
    return {
        "decided": decided,
        "accepted": counts["accept"],
        "rejected": counts["reject"],
        "unsure": counts["unsure"],
        "replaced": counts[REPLACE],
        "open": len(rows) - decided,
        "share_of_suspect_decided": seen / doubtful if doubtful else 1.0,
    }


def agreement(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """How well each pair of readers agrees on the labels that both decided: the fraction, and Cohen's kappa.

    Kappa (Cohen, Educational and Psychological Measurement 1960) is (p_o - p_e) / (1 - p_e), with the observed
    agreement p_o and that to expect by chance, p_e. It is None where both say the same of every label: p_e is 1.

    Args:
        decisions: of all readers, label by label; those on regions are left out.
    """
    said: dict[str, dict[Subject, str]] = {}
    for each in decisions:
        if each.subject.region is None:
            said.setdefault(each.reader, {})[each.subject] = each.decision
    pairs = []
    for first, second in combinations(said, 2):
        both = [subject for subject in said[first] if subject in said[second]]
        ours, theirs = ([said[reader][subject] for subject in both] for reader in (first, second))
        same = sum(own == other for own, other in zip(ours, theirs, strict=True))
        pairs.append(
            {
                "first": first,
                "second": second,
                "labels": len(both),
                "agreement": same / len(both) if both else None,
                "kappa": _kappa(ours, theirs),
            }
        )
    return pairs


def _kappa(ours: Sequence[str], theirs: Sequence[str]) -> float | None:
    if len({*ours, *theirs}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # takes a second to import

    kappa = float(cohen_kappa_score(ours, theirs))
    return kappa if math.isfinite(kappa) else None
