"""Out-of-fold predictions: every held-out case predicted once, scored, and what is concluded from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.paths import is_file, read_json
from segmend.core.precision import Precision
from segmend.core.progress import say, track
from segmend.core.regions import annotated_objects
from segmend.core.tables import write_json, write_table
from segmend.data.cache import digest_of
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.evidence import Evidence, without_evidence, write_evidence
from segmend.engine.quality_calibration import Outcome, write_calibration
from segmend.engine.segmenter import cleaned
from segmend.functional.morphology import largest_component
from segmend.metrics.evaluation import Score, score_case
from segmend.metrics.overlap import dice
from segmend.metrics.results import read_table, summarise, to_table

_TOLERANCE_MM = 1.0
"""Distance within which surfaces agree, the default of 'segmend evaluate'."""


def predict_fold(place: CrossValidation, fold: int, folder: DataFolder, precision: Precision) -> None:
    """Predict the held-out cases of a finished fold and score them; what is there already is not computed again.

    Args:
        place: the cross-validation.
        fold: its finished fold.
        folder: the data, with all labels.
        precision: of the network.

    Raises:
        InputError: a file cannot be read or written.
    """
    run, names = place.run(fold), place.assignment.held_out(fold)
    cases = [case for case in folder.select(Split.TRAIN) if case.name in names]
    weights, known = digest_of(run.last, run.task), _recorded(place, fold)
    if known is not None and known["weights"] != weights:  # the run was deleted and trained again
        for file in (place.summary_file, place.record(fold), place.scores(fold)):
            file.unlink(missing_ok=True)
        for case in cases:
            place.out_of_fold(case.name).unlink(missing_ok=True)
        known = None
    missing = without_evidence(cases, folder.classes, place.out_of_fold)
    if missing:
        segmenter = run.segmenter(precision=precision)
        for case in track(missing, f"predicting held-out cases of fold {fold}"):
            loaded = load_case(case, folder)
            write_evidence(place.out_of_fold(case.name), segmenter.probabilities(loaded.image, loaded.grid))
    if missing or known is None or not is_file(place.scores(fold)):
        table, kept_largest = _score(place, folder, cases)
        write_table(place.scores(fold), table)
        write_json(place.record(fold), {"weights": weights, "dice_of_largest_component": kept_largest})


def summarise_folds(place: CrossValidation, folder: DataFolder) -> pd.DataFrame:
    """Write the summary of all folds, and choose the post-processing.

    Args:
        place: the cross-validation; all its folds are predicted.
        folder: the data, with all labels.

    Returns:
        The scores of all held-out cases.
    """
    parts = [read_table(place.scores(fold)) for fold in place.numbers]
    # The order of classes within a case is that of the data folder.
    table = pd.concat(parts).sort_values("case", kind="stable", ignore_index=True)
    kept_largest: dict[str, dict[str, float]] = {}
    for fold in place.numbers:
        record = _recorded(place, fold)
        if record is None:
            remedy = "run the same 'segmend train' again, which writes it"
            raise InputError(place.record(fold), "is missing or damaged", remedy, code="damaged")
        for label, of_cases in record["dice_of_largest_component"].items():
            kept_largest.setdefault(label, {}).update(of_cases)
    write_table(place.summary_table, table)
    chosen = choose_largest(table, kept_largest)
    write_json(place.postprocessing, {"largest_component": chosen})
    _calibrate(place, folder, table, {label: kept_largest[label] for label in chosen if chosen[label]["applied"]})
    summary: dict[str, Any] = {
        "data": str(folder.root.resolve()),
        "folds": place.assignment.folds,
        "seed": place.assignment.seed,
        "cases": len(place.assignment.fold_of),
        "unit": "mm",
        "tolerance": _TOLERANCE_MM,
        **summarise(table),
    }
    expert = {case.name for case in folder.select(Split.TRAIN, Quality.EXPERT)} & set(place.assignment.fold_of)
    if expert and len(expert) < len(place.assignment.fold_of):
        summary["expert_labels"] = {"cases": len(expert), **summarise(table[table["case"].isin(expert)])}
    write_json(place.summary_file, summary)
    return table


def choose_largest(table: pd.DataFrame, kept_largest: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Decide class by class whether to keep the largest component only: if the mean Dice over all cases is higher.

    Args:
        table: scores with all components, a row for each case and class.
        kept_largest: Dice with the largest component only, by class and case.

    Returns:
        By class ``applied``, and ``dice`` and ``dice_of_largest_component`` as means over all cases.
    """
    chosen = {}
    for label, rows in table.groupby("label", sort=False):
        if str(label) not in kept_largest:
            continue
        before = float(rows["dice"].mean())
        after = float(np.mean([kept_largest[str(label)][case] for case in rows["case"]]))
        chosen[str(label)] = {"applied": after > before, "dice": before, "dice_of_largest_component": after}
    return chosen


def say_post_processing(place: CrossValidation) -> None:
    """Say which classes keep their largest component only."""
    entries = read_json(place.postprocessing)["largest_component"]
    for label, entry in entries.items():
        if entry["applied"]:
            gain = f"{entry['dice']:.4f} to {entry['dice_of_largest_component']:.4f}"
            say(f"largest component of '{label}' is kept: out-of-fold Dice from {gain}")


def _calibrate(
    place: CrossValidation, folder: DataFolder, table: pd.DataFrame, kept_largest: Mapping[str, Mapping[str, float]]
) -> None:
    """Choose what calibrates the expected Dice, of masks after post-processing.

    Args:
        place: the cross-validation.
        folder: the data, with all labels.
        table: scores with all components.
        kept_largest: Dice with the largest component only by class and case, of the classes that keep only that.
    """
    if folder.regions:  # the expected Dice is of classes, the true one of regions
        return
    names = list(folder.labels)
    true = {(case, label): dice for case, label, dice in table[["case", "label", "dice"]].itertuples(index=False)}
    true |= {(case, label): dice for label, of_cases in kept_largest.items() for case, dice in of_cases.items()}
    cases = [case for case in folder.select(Split.TRAIN) if case.name in place.assignment.fold_of]

    def outcomes() -> dict[str, list[Outcome]]:
        found: dict[str, list[Outcome]] = {label: [] for label in names[1:]}
        for case in track(cases, "calibrating the expected Dice"):
            evidence, known = Evidence(place.out_of_fold(case.name)), None
            if folder.ignore is not None:
                loaded = load_case(case, folder)
                assert loaded.label is not None
                known = loaded.label != IGNORE
            classes = cleaned(evidence.label(), [names.index(label) for label in kept_largest])
            for index, label in enumerate(names):
                if (case.name, label) not in true:  # background, or not annotated in this case
                    continue
                fold, dice = place.assignment.fold_of[case.name], true[case.name, label]
                outcome = Outcome.of(fold, classes == index, evidence.probability(index), dice, known)
                found[label] += [outcome] if outcome.voxels else []
        return found

    weights = [(_recorded(place, fold) or {}).get("weights") for fold in place.numbers]
    source = digest_of(weights, sorted(true.items()), sorted(kept_largest))
    write_calibration(place.calibration_file, source, names[1:], outcomes)


def say_calibration(place: CrossValidation) -> None:
    """Say the error of the expected Dice of out-of-fold predictions, before and after calibration."""
    if not is_file(place.calibration_file):
        return
    for label, entry in read_json(place.calibration_file)["classes"].items():
        if entry.get("error_after") is not None:
            errors = f"{entry['error_before']:.3f} before and {entry['error_after']:.3f} after calibration"
            say(f"expected Dice of '{label}': out-of-fold error {errors} ({entry['predictions']} predictions)")


def _score(
    place: CrossValidation, folder: DataFolder, cases: Sequence[Case]
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Scores of cases with all components, and the Dice of each class and case with the largest one only."""
    scores: list[Score] = []
    # Components are of classes, which say little about those of a region.
    kept_largest: dict[str, dict[str, float]] = {} if folder.regions else {name: {} for name in folder.objects}
    for case in track(cases, "scoring held-out cases"):
        loaded = load_case(case, folder)
        assert loaded.label is not None
        known, objects = loaded.label != IGNORE, annotated_objects(folder.objects, case.annotated)
        predicted = Evidence(place.out_of_fold(case.name)).label()
        true, found, largest = (
            np.where(known, array, 0) for array in (loaded.label, predicted, largest_component(predicted))
        )
        scores += score_case(case.name, found, true, objects, loaded.grid.spacing, _TOLERANCE_MM).values()
        for name in kept_largest.keys() & objects.keys():
            (index,) = objects[name]
            kept_largest[name][case.name] = dice(largest == index, true == index)
    return to_table(scores), kept_largest


def _recorded(place: CrossValidation, fold: int) -> dict[str, Any] | None:
    """What is known of the predictions of a fold; None if they are not finished, or the file is damaged."""
    try:
        content = read_json(place.record(fold))
    except InputError:
        return None
    whole = isinstance(content.get("weights"), str) and isinstance(content.get("dice_of_largest_component"), dict)
    return content if whole else None
