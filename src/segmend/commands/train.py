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
from segmend.engine.fit import fit
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import TrainingPlan
from segmend.engine.preparation import prepare_training
from segmend.engine.run import Run
from segmend.engine.setup import TrainingSetup
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
    if folds is not None:
        given = FoldSettings(folds, fold, method, network, options, cache)
        return train_folds(given, _train_run, data=data, out=out, table=cases)
    if fold is not None:
        raise InputError("fold", f"is {fold}, but `folds` is not given", "give both", code="missing-value")
    run = Run(out)
    stopping.promise("continue" if run.last.is_file() else None)
    folder = DataFolder.open(data, cases)
    if _train_run(folder, run, method=method, network=network, options=options, cache=cache) and is_first_process():
        say(f"finished: {out}. Next: segmend predict --run {out} --images FOLDER --out PREDICTIONS")
    return run


def _train_run(
    folder: DataFolder,
    run: Run,
    *,
    method: Callable[[Network], Method] | None,
    network: Callable[[int, int, int], Network] | None,
    options: TrainingOptions,
    plan: TrainingPlan | None = None,
    cache: Path | None,
) -> bool:
    """Train a run or continue it; arguments as in ``prepare_training``. Returns whether anything was left to do."""
    setup = prepare_training(folder, options, method=method, network=network, run=run, plan=plan, cache=cache)
    run.check_free_for(setup.config)
    run.check_data(setup.state)
    if run.finished:
        _check_fingerprint(run, setup, cache)
        say(f"{run.path} is finished already; nothing to do")
        return False
    with run.kept():
        pass  # a place that cannot be written to is refused before the data are prepared
    training = setup.prepare(cache)
    with run.kept():
        training = setup.with_initial_labels(training, cache)
        run.begin(setup.config, training.task, setup.state, setup.plan)
        if not run.finished:  # by another process in the meantime
            fit(run, setup.method, training, options.hardware)
    return True


def _check_fingerprint(run: Run, setup: TrainingSetup, cache: Path | None) -> None:
    """Make sure that a finished run without data.json, of an earlier version, is one of these data."""
    if run.data_state is None and setup.digest(run.task.preprocessing, cache) != run.task.fingerprint:
        raise InputError(
            run.path,
            "was trained on other data",
            "choose another `out`, or restore the data folder",
            code="changed-data",
        )
