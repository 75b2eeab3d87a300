"""segmend audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from segmend.audit.auditor import AuditedCase, Auditor
from segmend.audit.cohort import duplicate_scans
from segmend.audit.corrections import read_corrections, rounds_of
from segmend.audit.cross_validation import Folds, check_runs, infer, lacking, trained_on
from segmend.audit.evidence import Evidence
from segmend.audit.external_probabilities import GivenProbabilities
from segmend.audit.first_look import first_look
from segmend.audit.folder import AuditFolder
from segmend.audit.folds import assign_folds, held_out_cases
from segmend.audit.report.page import write_audit_report
from segmend.audit.rows import SUSPECT
from segmend.audit.settings import audit_settings, claim, training_settings
from segmend.audit.tables import write_audit
from segmend.commands.train import train
from segmend.core import signals as stopping
from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.folders import locked_folder
from segmend.core.precision import Precision
from segmend.core.progress import say
from segmend.data.augment import Augmentation
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.raters import find_raters
from segmend.engine.arguments import report_unlabelled
from segmend.engine.learner import Optimisation
from segmend.engine.run import Run
from segmend.methods import Method, Supervised
from segmend.networks import Network, VNet


def audit(
    *,
    data: Path,
    out: Path,
    run: Path | list[Path] | None = None,
    probabilities: Path | None = None,
    folds: int = 3,
    method: Callable[[Network], Method] = Supervised,
    network: Callable[[int, int, int], Network] = VNet,
    iterations: int = 2000,
    first_iterations: int | None = None,
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    dimensions: Literal[2, 3] | None = None,
    expert: int | None = None,
    noisy: int | None = None,
    unlabelled: int | None = None,
    mixed: int | None = None,
    foreground: float = 0.33,
    augmentation: Augmentation = Augmentation(),
    optimisation: Optimisation = Optimisation(),
    seed: int = 0,
    precision: Precision = "auto",
    devices: int | Literal["auto"] = "auto",
    nodes: int = 1,
    workers: int | None = None,
    compile: bool = False,
    checkpoint_every: int = 250,
    cases: Path | None = None,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Find annotation errors: rank all training labels, show what is wrong where, and propose corrections.

    Every label is judged by a model that was not trained on it: the cases are assigned to folds, and each fold is
    predicted by a model that is trained on all others. Expert labels are used for training in every fold, and judged
    for completeness only (column 'in_training_set'). No label needs to be expert.

    Writes into the folder ``out`` the tables audit.csv (one row per case and label), regions.csv,
    annotators.csv, checks.csv and audit.json, and label files in the folders 'proposals' and 'issues' that
    open over the scan. docs/audit.md explains them. Called again with the same arguments, an interrupted
    audit continues. The data folder is not changed. Validation and test labels are not judged: correcting them
    with a model would bias its evaluation.

    Args:
        data: the data folder.
        out: the folder to write.
        run: a run folder to take the probabilities from instead of training folds, or "[RUN1, RUN2]" to average
            those of several. Labels that it was trained on look better than they are.
        probabilities: a folder of probabilities to judge by instead, from models that were not trained on the labels:
            of 'segmend predict --probabilities true', or of nnU-Net's cross-validation (--npz).
        folds: number of models to train, 2 or more; at most one for each case.
        method: the method by name; this and all that follows is as in 'segmend train'.
        network: the network by name.
        iterations: optimiser steps of each fold.
        first_iterations: optimiser steps of the plain training before, for methods that have one.
        patch: sides of the training crops in voxels, slices last.
        spacing: millimetres between voxels to train at, slices last, or 'native' or 'auto'.
        dimensions: 2 trains on slices of volumes.
        expert: samples with expert labels in a batch.
        noisy: samples with noisy labels in a batch.
        unlabelled: samples without labels in a batch; the cases of the fold are among them.
        mixed: samples in a batch that are drawn uniformly from all labelled cases.
        foreground: fraction of labelled samples that are centred on a labelled object.
        augmentation: random changes of the samples; mirroring and quarter turns only if there is a single foreground
            class, or if asked for.
        optimisation: optimiser settings.
        seed: decides folds and trainings.
        precision: bf16 where the hardware has it (auto), or one of the two.
        devices: how many GPUs (or processes on a CPU) to use.
        nodes: how many machines to use.
        workers: processes that load data.
        compile: compile the network first.
        checkpoint_every: steps between checkpoints.
        cases: a table to use instead of cases.csv, for data folders that cannot be written to.
        cache: where prepared scans are kept.

    Returns:
        The table of ``audit.csv``, the most suspect label first.

    Raises:
        InputError: something given cannot be used, or the folder holds an audit of something else.

    Example:
        segmend audit --data DATA --out AUDIT --folds 3 --iterations 1000
    """
    folder = DataFolder.open(data, cases)
    report_unlabelled(folder.select(Split.TRAIN))
    judged = [case for case in folder.select(Split.TRAIN) if case.training_label]
    runs = [Run(path) for path in ([run] if isinstance(run, Path) else run or [])]
    given = GivenProbabilities(probabilities, folder) if probabilities else None
    _check_arguments(folder, out, judged, runs, given, folds)
    deciding: dict[str, Any] = {
        "iterations": iterations,
        "first_iterations": first_iterations,
        "patch": patch,
        "spacing": spacing,
        "dimensions": dimensions,
        "expert": expert,
        "noisy": noisy,
        "unlabelled": unlabelled,
        "mixed": mixed,
        "foreground": foreground,
        "augmentation": augmentation.for_classes(folder.classes),
        "optimisation": optimisation,
        "seed": seed,
        "precision": precision,
        "devices": devices,
        "nodes": nodes,
    }
    training = partial(
        train,
        data=data,
        method=method,
        network=network,
        workers=workers,
        compile=compile,
        checkpoint_every=checkpoint_every,
        cache=cache,
        **deciding,
    )
    place = AuditFolder(out)
    placement = given.examine(judged) if given else None
    source = _source(runs, given, judged)
    settings = audit_settings(folder, judged, source or {"folds": folds, "seed": seed})
    if not source:
        settings["training"] = training_settings(folder, method, network, dimensions, deciding)
    with locked_folder(out):
        claim(place, settings)
        stopping.promise("continue")

        findings, summaries = first_look(folder, judged)
        missing = lacking(judged, folder, place)
        if given and placement:
            given.write(missing, placement.layout, place)
            judged_by, seen = dict.fromkeys(summaries, 0), dict.fromkeys(summaries, False)
        elif runs:
            infer(missing, folder, runs, precision, place)
            judged_by, seen = dict.fromkeys(summaries, 0), _seen(runs, summaries)
        else:
            held_out, same = held_out_cases(judged), duplicate_scans(summaries)
            fold_of = assign_folds(held_out, min(folds, len(held_out)), seed, same)
            judged_by = Folds(folder, fold_of, same, training, precision).collect(judged, place)
            seen = {name: name not in fold_of for name in summaries}
        corrections = read_corrections(data)
        audited = [
            AuditedCase(
                case,
                Evidence(place.evidence(case.name)),
                judged_by[case.name],
                seen[case.name],
                rounds_of(corrections, case.name),
                doubtful=placement is not None and case.name in placement.doubtful,
            )
            for case in judged
        ]
        place.remove_results()
        found = Auditor(folder, audited, find_raters(folder), place).run()
        remarks = placement.remarks if placement else ()
        table = write_audit(place, folder, found, [*findings, *found.findings], remarks)
        write_audit_report(place.root, folder)
        _tell(place, table)
    return table


def _check_arguments(
    folder: DataFolder,
    out: Path,
    judged: Sequence[Case],
    runs: Sequence[Run],
    given: GivenProbabilities | None,
    folds: int,
) -> None:
    if runs and given:
        raise InputError("run, probabilities", "are both given", "choose one of them", code="mismatch")
    if out.resolve().is_relative_to(folder.root.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )
    if not judged:
        raise InputError(folder.root, "has no training case with a label", "there is nothing to audit", code="no-data")
    if folds < 2:
        raise InputError("folds", f"is {folds}", "give 2 or more", code="invalid-value")
    if not runs and not given and len(judged) < 2:
        raise InputError(
            folder.root, "has only one labelled training case", "give a `run` that can judge it", code="no-data"
        )
    check_runs(runs, folder)
    if given:
        given.check(judged)


def _source(runs: Sequence[Run], given: GivenProbabilities | None, judged: Sequence[Case]) -> dict[str, object]:
    """Where the evidence comes from, if it is given."""
    if given:
        return {"probabilities": {case.name: digest_of(*given.files(case)) for case in judged}, **given.declared}
    digests = {
        str(run.path.resolve()): digest_of(run.last, run.path / "config.yaml", run.path / "task.json") for run in runs
    }
    return {"runs": digests} if runs else {}


def _seen(runs: Sequence[Run], names: Mapping[str, object]) -> dict[str, bool]:
    """Which labels a run was trained on; all, if nobody can tell."""
    known = [trained_on(run) for run in runs]
    return {name: any(of_run is None or name in of_run for of_run in known) for name in names}


def _tell(place: AuditFolder, table: pd.DataFrame) -> None:
    suspect = int((table["score"] < SUSPECT).sum())
    lines = [f"{suspect} of {len(table)} labels flagged (score below {SUSPECT}); most suspect first:"]
    lines += [f"  {row.score:.2f}  {row.case}  {row.label}  {row.kind}" for row in table.head(10).itertuples()]
    for line in [*lines, *place.read_summary()["remarks"], f"Review them in {place.root / 'report.html'}"]:
        say(line)
