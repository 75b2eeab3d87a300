"""segmend select."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from segmend.audit.decisions import read_decisions
from segmend.audit.folder import AuditFolder
from segmend.audit.reliability import BELOW
from segmend.audit.selection.candidates import (
    Candidate,
    decided_labels,
    labelled_candidates,
    learned_classes,
    open_labels,
    unlabelled_candidates,
)
from segmend.audit.selection.features import CaseFeatures, read_features
from segmend.audit.selection.ranking import SelectedCase, select_cases
from segmend.audit.selection.sample import Key, SampledLabel, draw_sample, filled_in
from segmend.audit.selection.sample import in_words as strata_in_words
from segmend.commands.select_audit import OpenedAudit, check_out
from segmend.commands.select_estimate import estimate_from
from segmend.core.errors import InputError
from segmend.core.paths import is_file
from segmend.core.progress import say, warn
from segmend.core.tables import write_rows
from segmend.data.folder import DataFolder
from segmend.functional.stratified import Allocation

Purpose = Literal["gain", "estimate"]

SELECTED, SAMPLE, ESTIMATE = "selected.csv", "sample.csv", "estimate.csv"
"""Tables in the folder of the audit, unless another file is named."""
_DECISIONS = "decisions.csv"
_READ_PER_CHOSEN = 5
_READ_AT_LEAST = 100
"""How many cases are read for their features, those of the largest gains: the other ones would hardly be chosen."""
_SHOWN = 20


def select(
    *,
    audit: Path,
    budget: int | None = None,
    purpose: Purpose = "gain",
    out: Path | None = None,
    decisions: Path | None = None,
    predictions: Path | None = None,
    diversity: float = 0.5,
    below: float | None = None,
    allocation: Allocation = "neyman",
    checked: Path | None = None,
    sample: Path | None = None,
    seed: int = 0,
    data: Path | None = None,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Choose which cases to check or annotate next, or estimate how many labels are erroneous.

    For the largest gain, cases are ranked by what the expected Dice of their labels is short of that of true ones, and
    those that are similar to cases chosen before count for less. For an estimate, labels are drawn at random from
    strata of similar expected Dice; fill in what you find, and give the table back with 'checked'. Expert labels, and
    those decided already, are not chosen.

    Args:
        audit: the folder that 'segmend audit' wrote.
        budget: number of cases to choose; for an estimate number of labels, each a class of a case.
        purpose: gain chooses where correcting is expected to help most; estimate draws a random sample.
        out: the CSV file to write; by default selected.csv, sample.csv or estimate.csv in the folder of the audit.
        decisions: a table of decisions so far; decisions.csv in the folder of the audit, if it is there.
        predictions: folder that 'segmend predict --uncertainty true' wrote for unlabelled cases, which then may be
            chosen, too.
        diversity: how much of its value a case loses that equals one chosen before, 0..1; 0 ranks by gain alone.
        below: true Dice below which a label counts as erroneous; 0.8 by default, or as when the sample was drawn.
        allocation: of the sample over the strata: neyman draws more where labels differ more, proportional the same
            fraction of each.
        checked: what was found: the sample with its column dice or erroneous filled in, another table with these
            columns, decisions of a review, or a folder of right labels.
        sample: the sample that was drawn, where 'checked' is not itself that table; by default sample.csv in the
            folder of the audit.
        seed: of the random sample, 0 or more.
        data: the data folder, if it was moved since the audit.
        cases: a table to use instead of cases.csv, as in the audit.

    Returns:
        The table as written.

    Raises:
        InputError: the audit is not finished, the budget is not from 1 to what there is to choose, a table cannot be
            used, or data have changed since the audit.

    Example:
        segmend select --audit AUDIT --budget 20
    """
    place = AuditFolder(audit)
    summary = place.read_summary()
    _check_arguments(budget, purpose, diversity, below, checked, sample, predictions, decisions, seed)
    opened = OpenedAudit(place, place.read_labels(), place.read_settings(), data, cases)
    if checked is not None:
        return estimate_from(opened, checked, sample or audit / SAMPLE, below, out or audit / ESTIMATE)
    assert budget is not None
    decided = _decided(opened, decisions)
    rows = open_labels(place, opened.table, decided)
    if purpose == "estimate":
        limit = BELOW if below is None else below
        return _sample(opened, rows, budget, limit, allocation, seed, out or audit / SAMPLE)
    rows = learned_classes(place, rows, summary)
    return _gain(opened, rows, budget, diversity, predictions, out or audit / SELECTED)


def _decided(opened: OpenedAudit, decisions: Path | None) -> set[Key]:
    """Labels that are decided."""
    own = opened.place.root / _DECISIONS
    path = decisions or (own if is_file(own) else None)
    if path is None:
        return set()
    found = decided_labels(opened.table, read_decisions(path, opened.place, opened.table))
    say(f"{len(found)} labels are decided in {path}, and not chosen again")
    return found


def _gain(
    opened: OpenedAudit, rows: pd.DataFrame, budget: int, diversity: float, predictions: Path | None, out: Path
) -> pd.DataFrame:
    candidates = labelled_candidates(rows)
    folder = opened.folder()
    if predictions is not None:
        labelled = {case.name for case in folder.cases if case.label} if folder else set()
        candidates += unlabelled_candidates(predictions, labelled | set(opened.table["case"]))
    _check_budget(budget, len(candidates), "cases")
    check_out(out)
    ranked = sorted(candidates, key=lambda candidate: -candidate.gain)
    pool = ranked[: max(_READ_AT_LEAST, _READ_PER_CHOSEN * budget)]
    features = _features(pool, folder, opened.settings, diversity)
    chosen = select_cases(pool, features, budget, diversity)
    table = write_rows(out, SelectedCase, chosen)
    for line in _in_words(chosen, candidates):
        say(line)
    say(f"selected cases: {out}")
    return table


def _features(
    pool: Sequence[Candidate], folder: DataFolder | None, settings: Mapping[str, Any], diversity: float
) -> list[CaseFeatures]:
    if folder is None:
        warn(
            f"The data folder {settings.get('data')} is not there: cases are compared by annotator and kind of error "
            "only, not by domain, volume or intensity. Give its new place as `data`."
        )
    if folder is None or diversity == 0:
        return [CaseFeatures(volumes=candidate.volumes) for candidate in pool]
    return read_features(pool, folder, settings)


def _in_words(chosen: Sequence[SelectedCase], candidates: Sequence[Candidate]) -> Iterator[str]:
    total, own = sum(each.gain for each in candidates), sum(each.expected_gain for each in chosen)
    part = f"{100 * own / total:.0f} % of the expected gain of all" if total else "none is expected to gain anything"
    yield f"{len(chosen)} of {len(candidates)} cases, {part}:"
    for each in chosen[:_SHOWN]:
        yield f"  {each.order}. {each.case} ({each.task}): {each.reason}"
    if len(chosen) > _SHOWN:
        yield f"  and {len(chosen) - _SHOWN} more"


def _sample(
    opened: OpenedAudit, rows: pd.DataFrame, budget: int, below: float, allocation: Allocation, seed: int, out: Path
) -> pd.DataFrame:
    _check_budget(budget, len(rows), "labels")
    if filled_in(out):
        problem = "holds what a reader has found in an earlier sample"
        raise InputError(out, problem, "name another file by `out`, or move it away", code="already-exists")
    check_out(out)
    drawn, strata = draw_sample(rows, budget, below, allocation, seed, opened.place.mark)
    table = write_rows(out, SampledLabel, drawn)
    say(f"{budget} of {len(rows)} labels of {rows['case'].nunique()} cases drawn at random ({allocation} allocation):")
    for line in strata_in_words(strata):
        say(f"  {line}")
    say(
        f"the sample: {out}. Check its labels in their order, write the Dice of each to the right label into the "
        f"column 'dice', or yes or no into 'erroneous' (Dice below {below:g}), and run 'segmend select --audit "
        f"{opened.place.root} --checked {out}'"
    )
    return table


def _check_arguments(
    budget: int | None,
    purpose: str,
    diversity: float,
    below: float | None,
    checked: Path | None,
    sample: Path | None,
    predictions: Path | None,
    decisions: Path | None,
    seed: int,
) -> None:
    if purpose not in ("gain", "estimate"):
        raise InputError("purpose", f"is '{purpose}'", "give gain or estimate", code="unknown-name")
    if not 0 <= diversity <= 1:
        raise InputError("diversity", f"is {diversity}", "give a number from 0 to 1", code="invalid-value")
    if below is not None and not 0 < below <= 1:
        raise InputError("below", f"is {below}", "give a Dice above 0, up to 1", code="invalid-value")
    if seed < 0:
        raise InputError("seed", f"is {seed}", "give 0 or more", code="invalid-value")
    if checked is None and budget is None:
        raise InputError("budget", "is not given", "say how many cases can be looked at", code="missing-value")
    contradictions = (
        ("sample", sample is not None and checked is None, "is the table that `checked` belongs to"),
        ("budget", budget is not None and checked is not None, "is of a new sample, but `checked` is of an old one"),
        ("decisions", decisions is not None and checked is not None, "are given as `checked` for an estimate"),
        ("predictions", predictions is not None and checked is not None, "are of no use to an estimate"),
        ("predictions", predictions is not None and purpose == "estimate", "have no labels whose errors to estimate"),
    )
    for argument, contradicts, problem in contradictions:
        if contradicts:
            raise InputError(argument, problem, "leave one of them out", code="mismatch")


def _check_budget(budget: int, available: int, what: str) -> None:
    if not 1 <= budget <= available:
        problem = f"is {budget}, but {available} {what} are open"
        raise InputError("budget", problem, f"give a number from 1 to {available}", code="invalid-value")
