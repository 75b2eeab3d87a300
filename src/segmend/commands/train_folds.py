"""segmend train --folds: the runs of a cross-validation, in one process or in any number of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segmend.core import signals as stopping
from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.folders import locked_folder
from segmend.core.io import WAIT_TIMEOUT_S, atomic_file, content, wait_for
from segmend.core.locks import InUseError, is_first_process
from segmend.core.os_errors import explain_os_errors
from segmend.core.paths import is_file
from segmend.core.progress import say
from segmend.core.tables import write_json
from segmend.data.cases_table import write_cases
from segmend.data.folder import DataFolder
from segmend.data.state import DataState
from segmend.engine.building import chosen_method
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.folds import Assignment, assign_folds, find_duplicate_scans
from segmend.engine.launchers import launcher_of
from segmend.engine.options import TrainingOptions
from segmend.engine.out_of_fold import predict_fold, say_calibration, say_post_processing, summarise_folds
from segmend.engine.plan import TrainingPlan
from segmend.engine.preparation import labelled_as, prepare_training
from segmend.engine.run import Run
from segmend.engine.splits import Splits
from segmend.engine.train_run import train_run
from segmend.methods import Method
from segmend.metrics.results import in_words
from segmend.networks import Network

_OF_A_PLACE = ("out", "cases", "compile")
"""Entries of config.yaml in which folds differ, or that do not change what they compute."""


@dataclass(frozen=True)
class FoldSettings:
    """How the folds are trained.

    Attributes:
        folds: number of folds.
        fold: the only one to train now, or None.
        method: as ``train`` takes it.
        network: as ``train`` takes it.
        options: settings of the trainings; the seed also decides the assignment.
        cache: where prepared scans are kept.
        splits: which fold holds out which case; None assigns them at random.
    """

    folds: int
    fold: int | None
    method: Callable[[Network], Method] | None
    network: Callable[[int, int, int], Network] | None
    options: TrainingOptions
    cache: Path | None
    splits: Splits | None = None

    @classmethod
    def of(cls, folds: int | None, fold: int | None, splits: Path | None, **training: Any) -> FoldSettings:
        """The settings with the folds of a file, if one is given.

        Raises:
            InputError: the file cannot be used, or has another number of folds than is asked for.
        """
        read = Splits.read(splits) if splits else None
        if read and folds not in (None, read.folds):
            problem = f"is {folds}, but {read.path} has {read.folds} folds"
            raise InputError("folds", problem, "leave it out", code="mismatch")
        return cls(folds=read.folds if read else folds or 0, fold=fold, splits=read, **training)

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise InputError(
                "folds", f"must be 2 or more, got {self.folds}", "give a larger number", code="invalid-value"
            )
        if self.fold is not None and not 1 <= self.fold <= self.folds:
            raise InputError(
                "fold", f"must be from 1 to {self.folds}, got {self.fold}", "give one of them", code="invalid-value"
            )

    @property
    def chosen(self) -> list[int]:
        """The folds to train now."""
        return [self.fold] if self.fold is not None else list(range(1, self.folds + 1))


def train_folds(given: FoldSettings, *, data: Path, out: Path, table: Path | None) -> CrossValidation:
    """Train folds, predict their held-out cases, and summarise them when all are there.

    Args:
        given: how.
        data: the data folder.
        out: the folder to write.
        table: a table to use instead of cases.csv.

    Returns:
        The cross-validation. Folds that were not asked for may be unfinished.

    Raises:
        InputError: something given cannot be used, for any of the folds; found before any work starts.
    """
    place = CrossValidation(out)
    launcher_of(given.options.hardware)  # forgets the variables of launchers that have not started this training
    folder = labelled_as(DataFolder.open(data, table), given.options)
    labelled = [case for case in folder.select(Split.TRAIN) if case.training_label]
    _check_number(given.folds, labelled, folder.root)
    _check_place(place)
    method = chosen_method(given.method, folder.select(Split.TRAIN))
    whole = replace(given, method=method)
    if is_first_process():
        # Folds that are started at the same time wait for the assignment and the plan of the first.
        with locked_folder(out, WAIT_TIMEOUT_S):
            plan = _claim(place, whole, folder, labelled)
    else:
        for file in (place.file, *([place.path / "plan.json"] if given.network is None else [])):
            wait_for(file)
        plan = Run(out).plan
    stopping.promise("continue")
    in_use = [fold for fold in given.chosen if not _train(place, fold, whole, folder, plan)]
    if is_first_process():
        _finish(place, folder, in_use)
    return place


def _check_number(folds: int, labelled: list[Case], root: Path) -> None:
    if len(labelled) < folds:
        count = f"only {len(labelled)} labelled training case{'s' if len(labelled) > 1 else ''}" if labelled else "none"
        problem = f"needs {folds} labelled training cases or more, got {count}"
        remedy = f"give `folds {len(labelled)}` or fewer" if len(labelled) > 1 else "label more cases, or leave it out"
        raise InputError("folds", f"{problem} in {root}", remedy, code="no-data")


def _check_place(place: CrossValidation) -> None:
    with explain_os_errors(place.path):
        if is_file(place.file):
            return
        if place.path.exists() and (not place.path.is_dir() or content(place.path)):
            problem = "holds something that is not a cross-validation"
            raise InputError(place.path, problem, "choose another `out`", code="already-exists")


def _claim(
    place: CrossValidation, given: FoldSettings, folder: DataFolder, labelled: list[Case]
) -> TrainingPlan | None:
    """Write assignment and plan, or make sure that those there are of these arguments and data.

    Nothing is written before all folds have been checked.
    """
    validation = [case for case in folder.select(Split.VAL) if case.training_label]
    state = DataState.of(folder, [*folder.select(Split.TRAIN), *validation])
    begun = is_file(place.file)
    split = given.splits.assign(labelled, [case.name for case in folder.cases]) if given.splits else None
    if begun:
        _check_same(place, given, state)
        fold_of, same = place.assignment.fold_of, place.assignment.duplicate_scans
        if given.splits and split != fold_of:
            problem = f"holds a cross-validation of other folds than those of {given.splits.path}"
            raise InputError(place.path, problem, "choose another `out`", code="already-exists")
    else:
        same = find_duplicate_scans(folder, labelled)
        scans = len(labelled) - len(same)
        if scans < given.folds:
            problem = f"needs {given.folds} different scans or more, got {scans}, since some cases have the same scan"
            raise InputError("folds", problem, f"give `folds {scans}` or fewer", code="no-data")
        fold_of = split or assign_folds(labelled, given.folds, given.options.seed, same)
    # One plan for all folds: of all training cases, whichever fold is started first.
    setup = prepare_training(
        folder, given.options, method=given.method, network=given.network, run=Run(place.path), cache=given.cache
    )
    config = {name: value for name, value in setup.config.items() if name not in _OF_A_PLACE}
    assignment = Assignment(given.folds, given.options.seed, fold_of, same, json.loads(json.dumps(config)), state)
    if begun:
        _check_configuration(place, assignment.training)
    for fold in given.chosen if begun else range(1, given.folds + 1):
        _check_fold(place, fold, given, assignment.folder(folder, fold), setup.plan)
    if not begun:
        write_json(place.file, assignment.to_json())
    if setup.plan and not is_file(place.path / "plan.json"):
        write_json(place.path / "plan.json", setup.plan.to_json())
    return setup.plan


def _check_fold(
    place: CrossValidation, fold: int, given: FoldSettings, shown: DataFolder, plan: TrainingPlan | None
) -> None:
    """Make sure that a fold can be trained without its labels."""
    try:
        prepare_training(
            shown,
            given.options,
            method=given.method,
            network=given.network,
            run=place.run(fold),
            plan=plan,
            quiet=True,
            cache=given.cache,
        )
    except InputError as error:
        raise error.but(problem=f"{error.problem} (where the labels of fold {fold} are held out)") from error


def _check_same(place: CrossValidation, given: FoldSettings, state: DataState) -> None:
    before = place.assignment
    was, now = (before.folds, before.seed), (given.folds, given.options.seed)
    if was != now:
        problem = f"holds a cross-validation of {was[0]} folds by seed {was[1]}, not of {now[0]} by seed {now[1]}"
        raise InputError(place.path, problem, "choose another `out`", code="already-exists")
    if changes := state.changes_since(before.data):
        remedy = f"restore the data folder ({changes}), or choose another `out`"
        raise InputError(place.path, "was begun with other data", remedy, code="changed-data")


def _check_configuration(place: CrossValidation, training: Mapping[str, Any]) -> None:
    before = place.assignment.training
    changed = sorted(name for name in {*before, *training} if before.get(name) != training.get(name))
    if changed:
        was, now = ({name: side.get(name) for name in changed} for side in (before, training))
        problem = f"holds a cross-validation of another configuration: {was}, not {now}"
        raise InputError(place.path, problem, "choose another `out`", code="already-exists")


def _train(
    place: CrossValidation,
    fold: int,
    given: FoldSettings,
    folder: DataFolder,
    plan: TrainingPlan | None,
) -> bool:
    """Train a fold and predict its held-out cases. Returns False if another process is doing so."""
    shown, table = place.assignment.folder(folder, fold), place.cases(fold)
    say(f"fold {fold} of {given.folds}")
    if is_first_process():
        with atomic_file(table) as temporary:
            write_cases(temporary, shown.cases)
    run = place.run(fold)
    try:
        train_run(
            DataFolder.open(folder.root, _waited_for(table)),
            run,
            method=given.method,
            network=given.network,
            options=given.options,
            plan=plan,
            cache=given.cache,
        )
    except InUseError:
        if given.fold is not None or given.options.hardware.processes > 1:
            raise
        say(f"fold {fold} is being trained by another process; going on with the others")
        return False
    if is_first_process():
        predict_fold(place, fold, folder, given.options.precision)
    _waited_for(place.record(fold))
    return True


def _waited_for(file: Path) -> Path:
    """The file, once the first of several processes has written it."""
    wait_for(file)
    return file


def _finish(place: CrossValidation, folder: DataFolder, in_use: list[int]) -> None:
    missing = [fold for fold in place.unfinished if fold not in in_use]
    if place.unfinished:
        parts = [f"still to be trained: {', '.join(map(str, missing))}"] if missing else []
        parts += [f"being trained by other processes: {', '.join(map(str, in_use))}"] if in_use else []
        say(
            f"{place.path}: {len(place.numbers) - len(place.unfinished)} of {len(place.numbers)} folds are finished; "
            f"folds {'; '.join(parts)}"
        )
        return
    for line in in_words(summarise_folds(place, folder), "mm"):
        say(line)
    say_post_processing(place)
    say_calibration(place)
    say(
        f"finished: {place.path}. Next: segmend predict --run {place.path} --images FOLDER --out PREDICTIONS, "
        f"or segmend audit --data {folder.root} --run {place.path} --out AUDIT"
    )
