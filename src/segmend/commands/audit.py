"""segmend audit."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from segmend.commands.evidence import Folds, check_runs, infer, trained_on
from segmend.commands.train import train
from segmend.data.augment import Augmentation
from segmend.data.cache import digest_of
from segmend.data.case import Case, Split
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.errors import InputError
from segmend.labels.audit.annotators import Bias, summarise
from segmend.labels.audit.auditor import Audit, AuditedCase, Auditor
from segmend.labels.audit.checks import Finding, check_label
from segmend.labels.audit.cohort import Portrait, check_cohort, twins
from segmend.labels.audit.evidence import Evidence
from segmend.labels.audit.folder import AuditFolder
from segmend.labels.audit.folds import assign_folds, to_judge
from segmend.labels.audit.rows import SUSPECT, LabelRow, RegionRow
from segmend.labels.corrections import read_corrections
from segmend.labels.raters import find_raters
from segmend.learner import Optimisation
from segmend.methods import Method, Supervised
from segmend.metrics.results import write_json, write_table
from segmend.networks import Network, VNet
from segmend.outputs import check_free
from segmend.precision import Precision
from segmend.progress import console, track
from segmend.run import Run


def audit(
    *,
    data: Path,
    out: Path,
    run: Path | list[Path] | None = None,
    folds: int = 3,
    method: Callable[[Network], Method] = Supervised,
    network: Callable[[int, int, int], Network] = VNet,
    iterations: int = 2000,
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    dimensions: Literal[2, 3] | None = None,
    expert: int | None = None,
    noisy: int | None = None,
    unlabelled: int | None = None,
    mixed: int | None = None,
    foreground: float = 0.0,
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
    """Finds wrong labels: ranks all training labels, says what is wrong where, and proposes better ones.

    Every label is judged by a model that has not seen it: the cases are dealt to folds, and each fold is
    predicted by a model that is trained on all others. Expert labels are trusted: they are trained on in
    every fold, and judged only for the sake of completeness, which column 'seen' says. No label needs to be expert.

    Writes into the folder ``out`` the tables audit.csv (a row a case and label), regions.csv,
    annotators.csv, checks.csv and audit.json, and label files in the folders 'proposals' and 'issues' that
    open over the scan. docs/audit.md explains them. Called again with the same arguments, an interrupted
    audit continues. The data folder is not changed. Validation and test labels are not judged: to mend them
    by a model would flatter that model.

    Args:
        data: the data folder.
        out: the folder to write.
        run: a run folder to take the probabilities from instead of training folds; "[RUN1, RUN2]" averages
            several. Labels that it was trained on look better than they are.
        folds: number of models to train, 2 or more; at most one for each case.
        method: as in 'segmend train', like all that follow.
        network: the network by name.
        iterations: optimiser steps of each fold.
        patch: sides of the training crops in voxels, slices last.
        spacing: millimetres between voxels to train at, slices last, or 'native' or 'auto'.
        dimensions: 2 trains on slices of volumes.
        expert: samples with expert labels in a batch.
        noisy: samples with noisy labels in a batch.
        unlabelled: samples without labels in a batch; the cases of the fold are among them.
        mixed: samples in a batch that are drawn alike from all labelled cases.
        foreground: share of labelled samples that are centred on a labelled object.
        augmentation: random changes of the samples.
        optimisation: how the weights are moved.
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
    judged = [case for case in folder.select(Split.TRAIN) if case.shown_label]
    held_out = to_judge(judged)
    runs = [Run(path) for path in ([run] if isinstance(run, Path) else run or [])]
    if not judged:
        raise InputError(data, "has no training case with a label", "there is nothing to audit")
    if folds < 2:
        raise InputError("--folds", f"is {folds}", "give 2 or more")
    if not runs and len(judged) < 2:
        raise InputError(data, "has only one labelled training case", "give a --run that can judge it")
    check_runs(runs, folder)
    training = {
        "data": data,
        "method": method,
        "network": network,
        "iterations": iterations,
        "patch": patch,
        "spacing": spacing,
        "dimensions": dimensions,
        "expert": expert,
        "noisy": noisy,
        "unlabelled": unlabelled,
        "mixed": mixed,
        "foreground": foreground,
        "augmentation": augmentation,
        "optimisation": optimisation,
        "seed": seed,
        "precision": precision,
        "devices": devices,
        "nodes": nodes,
        "workers": workers,
        "compile": compile,
        "checkpoint_every": checkpoint_every,
        "cache": cache,
    }
    place = AuditFolder(out)
    ...
