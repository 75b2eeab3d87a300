"""segmend audit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from segmend.audit.by_region import audit_objects
from segmend.audit.checks import check_labels, duplicate_scans
from segmend.audit.corrections import read_corrections, rounds_of
from segmend.audit.cross_validation import (
    Folds,
    check_runs,
    held_out_cases,
    predict_evidence,
    trained_on,
    without_evidence,
)
from segmend.audit.evidence import AuditedCase, Evidence
from segmend.audit.folder import AuditFolder
from segmend.audit.judges import Judges, Verdicts
from segmend.audit.out_of_fold import check_out_of_fold, copy_evidence, source_of
from segmend.audit.report.page import write_audit_report
from segmend.audit.rounds import changes_in_words
from segmend.audit.settings import audit_settings, claim, training_settings
from segmend.audit.tables import headline, write_audit
from segmend.commands.audit_arguments import (
    check_arguments,
    check_sources,
    check_weights,
    earlier_round,
    listed,
    nnunet_results,
    opened_runs,
    usable_cores,
)
from segmend.commands.train import train
from segmend.core import signals as stopping
from segmend.core.case import Case, Split
from segmend.core.folders import locked_folder
from segmend.core.options import spread
from segmend.core.progress import say
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.raters import find_raters
from segmend.engine.folds import assign_folds
from segmend.engine.options import TrainingOptions
from segmend.engine.preparation import labelled_as, report_unlabelled
from segmend.engine.recipes import network_by
from segmend.engine.run import Run
from segmend.engine.splits import Splits
from segmend.methods import Method, Supervised
from segmend.networks import Network


@spread("options")
def audit(
    *,
    data: Path,
    out: Path,
    run: Path | list[Path] | None = None,
    probabilities: Path | list[Path] | None = None,
    nnunet: Path | None = None,
    earlier: Path | None = None,
    retrain: bool = False,
    cores: int | None = None,
    folds: int = 3,
    splits: Path | None = None,
    method: Callable[[Network], Method] = Supervised,
    network: Callable[[int, int, int], Network] | None = None,
    options: TrainingOptions = TrainingOptions(iterations=2000),
    cases: Path | None = None,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Find annotation errors: rank all training labels, show what is wrong where, and propose corrections.

    Every label is judged by a model that was not trained on it: the cases are assigned to folds, and each fold is
    predicted by a model that is trained on all others. No label needs to be expert. Four or more
    expert labels that the models have not seen show whether the others share errors with the models; fewer are used
    for training in every fold, and judged for completeness only (column 'in_training_set').

    Writes into the folder ``out`` the tables audit.csv (one row per case and label), regions.csv,
    annotators.csv, checks.csv and audit.json, and label files in the folders 'proposals' and 'issues' that
    open over the scan. docs/audit.md explains them. Called again with the same arguments, an interrupted
    audit continues. The data folder is not changed. Validation and test labels are not judged: correcting them
    with a model would bias its evaluation.

    Args:
        data: the data folder.
        out: the folder to write.
        run: a run folder to take the probabilities from instead of training folds, or "[RUN1, RUN2]" to average
            those of several. Labels that it was trained on look better than they are. Of a cross-validation
            ('segmend train --folds') the out-of-fold probabilities are taken: every label is judged by the fold that
            holds it out, and nothing is trained.
        probabilities: a folder to judge by instead, from models that were not trained on the labels: probabilities of
            'segmend predict --probabilities true' or of nnU-Net's cross-validation (--npz), or label maps of any
            program (CASE.nii.gz; of TotalSegmentator CASE/CLASS.nii.gz). "[FOLDER1, FOLDER2]", and these together with
            `nnunet`, are several judges: the mean of their calibrated probabilities counts, and audit.csv shows where
            they disagree.
        nnunet: the folder of an nnU-Net model in nnUNet_results, as it lies, to judge by the validation cases of its
            folds (--npz): every label by the fold that held it out.
        earlier: the folder of an earlier round of the audit, before labels were corrected: its probabilities judge the
            labels as they are now, and nothing is trained. since.csv shows what has changed.
        retrain: with `earlier`: train its folds again on the labels as they are now, each from its former weights.
        cores: how many processes work on cases at once, all cores by default; fewer where memory is short. Results do
            not depend on it. Trainings and predictions of networks are not affected.
        folds: number of models to train, 2 or more; at most one for each case.
        splits: take the folds from this file instead of random ones: splits_final.json of nnUNet_preprocessed/DATASET,
            or that folder; `folds` is not used then. With `nnunet`, the folds of the model are compared with it.
        method: the method by name; this and the settings of the trainings are as in 'segmend train'.
        network: the network by name; planned for the data by default, as in 'segmend train'.
        options: settings of the trainings, each an argument of its own; the seed also decides the folds, and the
            cases of a fold are among the unlabelled ones of its training.
        cases: a table to use instead of cases.csv, for data folders that cannot be written to.
        cache: where prepared scans are kept.

    Returns:
        The table of ``audit.csv``, the most suspect label first.

    Raises:
        InputError: something given cannot be used, or the folder holds an audit of something else.

    Example:
        segmend audit --data DATA --out AUDIT --folds 3 --iterations 1000
    """
    network = network_by(options.recipe, network)
    folder = labelled_as(DataFolder.open(data, cases), options)
    report_unlabelled(folder.select(Split.TRAIN))
    judged = [case for case in folder.select(Split.TRAIN) if case.training_label]
    paths = listed(run)
    crossed, runs = opened_runs(paths)
    check_sources(paths, listed(probabilities), nnunet, earlier, splits)
    known = Splits.read(splits) if splits else None
    results = nnunet_results(nnunet, folder, judged, known)
    cores = usable_cores(cores)
    given = Judges.of(listed(probabilities), results, folder, cores)
    check_arguments(folder, out, judged, paths, given, earlier, folds)
    check_runs(runs, folder)
    if crossed:
        check_out_of_fold(crossed, folder, judged)
    before = earlier_round(earlier, retrain, folder, judged, out, options)
    if options.weights and not paths and not given:
        check_weights(options.weights, judged, Run(out))
    training = partial(train, data=data, method=method, network=network, options=options, cache=cache)
    place = AuditFolder(out)
    placement = given.examine(judged) if given else None
    source = source_of(crossed, judged) if crossed else _source(runs, given, judged)
    held_out = held_out_cases(judged)
    split = known.assign(held_out, [case.name for case in folder.cases]) if known else None
    if before and retrain:
        split = before.folds_to_continue(held_out)
    elif before:
        source = before.source
    asked = {"splits": split} if split else {"folds": folds, "seed": options.seed}
    settings = audit_settings(folder, judged, source or asked | (before.source if before else {}))
    if not source:
        settings["training"] = training_settings(folder, method, network, options)
    with locked_folder(out):
        claim(place, settings)
        stopping.promise("continue")

        findings, summaries = check_labels(folder, judged, cores)
        missing = [] if given else without_evidence(judged, folder, place)
        verdicts = Verdicts()
        if given:
            verdicts = given.write(judged, place)
            judged_by = {name: results.fold_of[name] if results else 0 for name in summaries}
            seen = dict.fromkeys(summaries, False)
        elif crossed:
            copy_evidence(missing, crossed, place)
            fold_of = crossed.assignment.fold_of
            judged_by, seen = {name: fold_of[name] for name in summaries}, dict.fromkeys(summaries, False)
        elif before and not retrain:
            before.copy_evidence(missing, place)
            judged_by = {name: before.fold_of[name] for name in summaries}
            seen = {name: before.seen[name] for name in summaries}
        elif runs:
            predict_evidence(missing, folder, runs, options.precision, place)
            judged_by, seen = dict.fromkeys(summaries, 0), _seen(runs, summaries)
        else:
            same = duplicate_scans(summaries)
            fold_of = split or assign_folds(held_out, min(folds, len(held_out)), options.seed, same)
            weights = before.place.fold if before else None
            judged_by = Folds(folder, fold_of, same, training, options, weights).collect(judged, place)
            seen = {name: name not in fold_of for name in summaries}
        corrections = read_corrections(data)
        audited = [
            AuditedCase(
                case,
                Evidence(place.evidence(case.name)),
                judged_by[case.name],
                seen[case.name],
                rounds_of(corrections, case.name),
                judges_dice=verdicts.dice.get(case.name, {}),
                uncertain_alignment=placement is not None and case.name in placement.uncertain,
            )
            for case in judged
        ]
        place.remove_results()
        found = audit_objects(folder, audited, find_raters(folder), place, cores)
        remarks = placement.remarks if placement else ()
        table = write_audit(place, folder, found, [*findings, *found.findings], remarks, before, verdicts.rows)
        write_audit_report(place.root, folder)
        _tell(place, table)
    return table


def _source(runs: Sequence[Run], given: Judges | None, judged: Sequence[Case]) -> dict[str, object]:
    """Where the evidence comes from, if it is given."""
    if given:
        return given.source(judged)
    digests = {
        str(run.path.resolve()): digest_of(run.last, run.path / "config.yaml", run.path / "task.json") for run in runs
    }
    return {"runs": digests} if runs else {}


def _seen(runs: Sequence[Run], names: Mapping[str, object]) -> dict[str, bool]:
    """Which labels a run was trained on; all, if that is not known."""
    known = [trained_on(run) for run in runs]
    return {name: any(of_run is None or name in of_run for of_run in known) for name in names}


def _tell(place: AuditFolder, table: pd.DataFrame) -> None:
    summary = place.read_summary()
    lines = [headline(summary, len(table)), "most suspect first: expected Dice now, with the proposal, attainable"]
    numbers = ["expected_dice", "expected_dice_proposal", "best_dice"]
    lines += [
        f"  {'  '.join(map(_two_digits, row[numbers]))}  {row['case']}  {row['label']}  {row['kind']}"
        for _, row in table.head(10).iterrows()
    ]
    if "since" in summary:
        lines.insert(1, changes_in_words(summary["since"]))
    for line in [*lines, *summary["remarks"], f"Review them in {place.root / 'report.html'}"]:
        say(line)


def _two_digits(number: float) -> str:
    return "-   " if math.isnan(number) else f"{number:.2f}"
