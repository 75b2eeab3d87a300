"""One training from its checks to its last step, as a single run or as a fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmend.core.errors import InputError
from segmend.core.progress import say
from segmend.data.folder import DataFolder
from segmend.engine.fit import fit
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import TrainingPlan
from segmend.engine.preparation import prepare_training
from segmend.engine.run import Run
from segmend.engine.setup import TrainingSetup
from segmend.methods import Method
from segmend.networks import Network


def train_run(
    folder: DataFolder,
    run: Run,
    *,
    method: Callable[[Network], Method] | None,
    network: Callable[[int, int, int], Network] | None,
    options: TrainingOptions,
    plan: TrainingPlan | None = None,
    cache: Path | None,
) -> bool:
    """Train a run or continue it.

    Args:
        folder: the data.
        run: where the training is kept.
        method: as ``prepare_training`` takes it.
        network: as ``prepare_training`` takes it.
        options: settings of the training.
        plan: what to follow if the run has no plan of its own.
        cache: where prepared scans are kept; the user's cache folder by default.

    Returns:
        Whether anything was left to do.

    Raises:
        InputError: something given cannot be used, or the folder holds something else.
        InUseError: another process trains there.
    """
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
