"""The cases to check or annotate next, with the reason for each in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segmend.audit.regions import ErrorKind
from segmend.audit.selection.candidates import Candidate
from segmend.audit.selection.features import CaseFeatures, feature_groups
from segmend.functional.diversity import Chosen, choose_diverse, gower_similarity

CHECK, ANNOTATE = "check", "annotate"
_WORTH_NAMING = 0.05
"""Smallest shortfall in Dice of a class that the reason names, besides the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedCase:
    """A row of the table of selected cases.

    Attributes:
        order: from 1, the first to look at.
        case: the case's name.
        task: "check" its label, or "annotate" it.
        expected_gain: what the expected Dice is short of 1, of predictions short of the mean, summed over the classes.
        similarity: to the most similar case further up, 0..1.
        most_similar: that case; "" for the first.
        labels: classes that fall short, separated by ';', the largest shortfall first.
        reason: in words.
    """

    order: int
    case: str
    task: str
    expected_gain: float
    similarity: float
    most_similar: str
    labels: str
    reason: str


def select_cases(
    candidates: Sequence[Candidate], features: Sequence[CaseFeatures], budget: int, diversity: float
) -> list[SelectedCase]:
    """Choose cases by expected gain and diversity.

    Args:
        candidates: the cases.
        features: of each.
        budget: how many to choose, at most all.
        diversity: weight of the similarity to cases chosen before, 0..1.
    """
    gains = np.array([candidate.gain for candidate in candidates])
    similarity = gower_similarity(feature_groups(candidates, features))
    chosen = choose_diverse(gains, similarity, budget, diversity)
    return [_row(chosen[: number + 1], candidates, features) for number in range(budget)]


def _row(chosen: Sequence[Chosen], candidates: Sequence[Candidate], features: Sequence[CaseFeatures]) -> SelectedCase:
    last = chosen[-1]
    candidate = candidates[last.index]
    nearest = "" if last.nearest is None else candidates[last.nearest].case
    short = sorted((each for each in candidate.classes if each.gain > 0), key=lambda each: -each.gain)
    parts = [*_on_classes(candidate), *_on_diversity(chosen, candidates, features)]
    return SelectedCase(
        order=len(chosen),
        case=candidate.case,
        task=CHECK if candidate.labelled else ANNOTATE,
        expected_gain=candidate.gain,
        similarity=last.similarity,
        most_similar=nearest,
        labels=";".join(each.label for each in short),
        reason="; ".join(parts),
    )


def _on_classes(candidate: Candidate) -> Iterator[str]:
    """What falls short, the worst class first."""
    short = sorted((each for each in candidate.classes if each.gain > 0), key=lambda each: -each.gain)
    named = [each for number, each in enumerate(short) if number == 0 or each.gain >= _WORTH_NAMING]
    for each in named[:3]:
        kind = "" if each.kind == ErrorKind.OK else f", {_kind_in_words(each.kind)}"
        mean = "" if candidate.labelled else f", mean of the unlabelled cases {each.attainable:.2f}"
        yield f"{each.label}: expected Dice {each.expected:.2f}{mean}{kind}"
    if len(named) > 3:
        yield f"{len(named) - 3} more classes fall short"
    if not named:
        yield "no class is expected to fall short"


def _on_diversity(
    chosen: Sequence[Chosen], candidates: Sequence[Candidate], features: Sequence[CaseFeatures]
) -> Iterator[str]:
    """What is new in the last of the chosen cases."""
    *before, last = (each.index for each in chosen)
    candidate = candidates[last]
    if not before:
        yield "largest expected gain"
        return
    if candidate.annotator and candidate.annotator not in {candidates[index].annotator for index in before}:
        yield f"first of annotator {candidate.annotator}"
    domain = features[last].domain
    if domain and domain not in {features[index].domain for index in before}:
        yield f"first of domain {domain}"
    known = {(each.label, each.kind) for index in before for each in candidates[index].classes}
    new = [
        f"{_kind_in_words(each.kind)} ({each.label})"
        for each in candidate.classes
        if each.kind != ErrorKind.OK and (each.label, each.kind) not in known
    ]
    if new:
        yield f"first with {', '.join(new[:3])}"
    if chosen[-1].nearest is not None:
        nearest = candidates[chosen[-1].nearest].case
        yield f"most similar to {nearest} ({chosen[-1].similarity:.2f})"


def _kind_in_words(kind: str) -> str:
    return kind.replace("_segmented", "-segmented").replace("_", " ")
