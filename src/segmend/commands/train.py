"""segmend train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmend.commands.train_folds import FoldSettings, train_folds
from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.locks import is_first_process
from segmend.core.options import spread
from segmend.core.progress import say
from segmend.data.folder import DataFolder
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.options import TrainingOptions
from segmend.engine.recipes import network_by
from segmend.engine.run import Run
from segmend.engine.train_run import train_run
from segmend.methods import Method
from segmend.networks import Network


@spread("options")
def train(
    *,
    data: Path,
    method: Callable[[Network], Method] | None = None,
    out: Path,
    network: Callable[[int, int, int], Network] | None = None,
    folds: int | None = None,
    fold: int | None = None,
    splits: Path | None = None,
    options: TrainingOptions = TrainingOptions(),
    cases: Path | None = None,
    cache: Path | None = None,
) -> Run | CrossValidation:
    """Train a network by a method on a data folder.

    The run folder holds the configuration, checkpoints, a log, curves and a summary; labels that the method
    rewrites lie in its folder 'labels', with labels.csv and labels.png. Called again with the same
    arguments, an interrupted run continues from its last checkpoint and gives the same result as an uninterrupted
    run; a folder that holds a run of other arguments, or on data that have changed since, is refused.

    Args:
        data: the data folder.
        method: the method by name; its own arguments follow as --method.ARGUMENT. By default Supervised if all labels
            are expert ones, and OffsetCorrection otherwise: docs/decisions/014-default-method.md explains why.
        out: the run folder to write.
        network: the network by name; its own arguments follow as --network.ARGUMENT. By default a U-Net that is planned
            for the data and the machine; 'segmend plan' shows the plan.
        folds: train a cross-validation: as many runs, each of them without the labels of one fold. Then ``out`` is
            a folder of runs, with which 'segmend predict' segments and 'segmend audit' judges the labels:
            docs/cross_validation.md.
        fold: train this fold only, from 1; the others may be trained at the same time, also on other machines.
        splits: a cross-validation by the folds of this file instead of random ones: splits_final.json of
            nnUNet_preprocessed/DATASET, or that folder. Fold 1 is the first of the file, which nnU-Net calls 0.
        options: settings of the training, each an argument of its own.
        cases: a table to use instead of cases.csv, for data folders that cannot be written to.
        cache: where prepared scans are kept; $SEGMEND_CACHE or the user's cache folder by default.

    Returns:
        The finished run; with ``folds`` the cross-validation, whose other folds may be unfinished.

    Raises:
        InputError: something given cannot be used; found before any work starts wherever possible.

    Example:
        segmend train --data DATA --out RUN --iterations 1000
    """
    network = network_by(options.recipe, network)
    if folds is not None or splits is not None:
        given = FoldSettings.of(folds, fold, splits, method=method, network=network, options=options, cache=cache)
        return train_folds(given, data=data, out=out, table=cases)
    if fold is not None:
        raise InputError("fold", f"is {fold}, but `folds` is not given", "give both", code="missing-value")
    run = Run(out)
    stopping.promise("continue" if run.last.is_file() else None)
    folder = DataFolder.open(data, cases)
    if train_run(folder, run, method=method, network=network, options=options, cache=cache) and is_first_process():
        say(f"finished: {out}. Next: segmend predict --run {out} --images FOLDER --out PREDICTIONS")
    return run
