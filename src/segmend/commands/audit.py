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
from segmend.audit.external.nnunet_results import NnunetResults
from segmend.audit.folder import AuditFolder
from segmend.audit.judges import Judges, Verdicts
from segmend.audit.out_of_fold import check_out_of_fold, copy_evidence, source_of
from segmend.audit.report.page import write_audit_report
from segmend.audit.rounds import EarlierRound, changes_in_words
from segmend.audit.settings import audit_settings, claim, training_settings
from segmend.audit.tables import headline, write_audit
from segmend.commands.train import train
from segmend.core import signals as stopping
from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.folders import locked_folder
from segmend.core.options import spread
from segmend.core.parallel import available_cores
from segmend.core.progress import say, warn
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.raters import find_raters
from segmend.engine.cross_validation import CrossValidation, opened
from segmend.engine.folds import assign_folds
from segmend.engine.options import TrainingOptions
from segmend.engine.preparation import labelled_as, report_unlabelled
from segmend.engine.recipes import network_by
from segmend.engine.run import Run
from segmend.engine.splits import Splits
from segmend.engine.warm_start import WarmStart
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
        segmend audit --data DATA2 --out AUDIT2 --earlier AUDIT
    """
    network = network_by(options.recipe, network)
    folder = labelled_as(DataFolder.open(data, cases), options)
    report_unlabelled(folder.select(Split.TRAIN))
    judged = [case for case in folder.select(Split.TRAIN) if case.training_label]
    paths = _listed(run)
    crossed, runs = _opened(paths)
    _check_sources(paths, _listed(probabilities), nnunet, earlier, splits)
    known = Splits.read(splits) if splits else None
    results = _results(nnunet, folder, judged, known)
    cores = _cores(cores)
    given = Judges.of(_listed(probabilities), results, folder, cores)
    _check_arguments(folder, out, judged, paths, given, earlier, folds)
    check_runs(runs, folder)
    if crossed:
        check_out_of_fold(crossed, folder, judged)
    before = _earlier(earlier, retrain, folder, judged, out, options)
    if options.weights and not paths and not given:
        _check_weights(options.weights, judged, Run(out))
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


def _cores(cores: int | None) -> int:
    """How many processes to use at most."""
    if cores is not None and cores < 1:
        raise InputError("cores", f"is {cores}", "give 1 or more, or leave it out to use all", code="invalid-value")
    return cores or available_cores()


def _listed(given: Path | list[Path] | None) -> list[Path]:
    return [given] if isinstance(given, Path) else given or []


def _check_sources(
    runs: Sequence[Path],
    probabilities: Sequence[Path],
    nnunet: Path | None,
    earlier: Path | None,
    splits: Path | None,
) -> None:
    """Make sure that the evidence comes from runs, files or an earlier round, and that a file of folds has a use."""
    sources = {"run": runs, "earlier": earlier, "probabilities": probabilities, "nnunet": nnunet}
    chosen = [name for name, value in sources.items() if value]
    if (runs or earlier) and len(chosen) > 1:
        problem = "are both given" if len(chosen) == 2 else "are all given"
        remedy = "choose one of them; 'segmend predict --probabilities true' makes files of a run, to judge with others"
        raise InputError(", ".join(chosen), problem, remedy, code="mismatch")
    if splits and chosen and not nnunet:
        problem = f"are given, but nothing is trained with `{chosen[0]}`"
        raise InputError("splits", problem, "leave one of them out", code="mismatch")


def _earlier(
    earlier: Path | None, retrain: bool, folder: DataFolder, judged: Sequence[Case], out: Path, options: TrainingOptions
) -> EarlierRound | None:
    """The earlier round, if it is of these cases."""
    if retrain and not earlier:
        problem, remedy = "is true, but no earlier round is given", "name its folder as `earlier`"
        raise InputError("retrain", problem, remedy, code="missing-value")
    if not earlier:
        return None
    if retrain and options.weights:
        problem = "are both given, but the folds start from the weights of the earlier round"
        raise InputError("retrain, weights", problem, "leave one of them out", code="mismatch")
    before = EarlierRound(AuditFolder(earlier))
    before.check(folder, judged, out)
    return before


def _results(
    nnunet: Path | None, folder: DataFolder, judged: Sequence[Case], splits: Splits | None
) -> NnunetResults | None:
    """The results of nnU-Net, if they are of these cases."""
    results = NnunetResults.find(nnunet) if nnunet else None
    if results:
        results.check(folder, judged, splits)
    return results


def _check_arguments(
    folder: DataFolder,
    out: Path,
    judged: Sequence[Case],
    runs: Sequence[Path],
    given: Judges | None,
    earlier: Path | None,
    folds: int,
) -> None:
    if out.resolve().is_relative_to(folder.root.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )
    if not judged:
        raise InputError(folder.root, "has no training case with a label", "there is nothing to audit", code="no-data")
    if folds < 2:
        raise InputError("folds", f"is {folds}", "give 2 or more", code="invalid-value")
    if not runs and not given and not earlier and len(judged) < 2:
        raise InputError(
            folder.root, "has only one labelled training case", "give a `run` that can judge it", code="no-data"
        )
    if given:
        given.check(judged)


def _check_weights(weights: Path, judged: Sequence[Case], out: Run) -> None:
    """Make sure that the models of the folds do not start from one that knows the labels they judge."""
    known = WarmStart.of(weights, out).trained_on(judged)
    if known:
        raise InputError(
            weights,
            f"was trained on {len(known)} of the cases to judge ({', '.join(known[:3])}), which would look better",
            "give `weights` of a run on other scans, or leave them out",
            code="mismatch",
        )
    if known is None:
        warn(f"{weights}: it is not known which scans these weights were trained on; labels they know look better")


def _opened(paths: Sequence[Path]) -> tuple[CrossValidation | None, list[Run]]:
    """The cross-validation, or the runs, in some folders."""
    found = [opened(path) for path in paths]
    runs = [each for each in found if isinstance(each, Run)]
    crossed = next((each for each in found if isinstance(each, CrossValidation)), None)
    if crossed and len(found) > 1:
        problem = "is a cross-validation, whose probabilities are not averaged with those of other runs"
        raise InputError(crossed.path, problem, "give it alone", code="mismatch")
    return crossed, runs


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
