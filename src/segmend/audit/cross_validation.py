"""Evidence from models that have not seen the labels: cross-validation folds, or given runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError
from segmend.core.io import atomic_file
from segmend.core.precision import Precision, best_device
from segmend.core.progress import say, track
from segmend.data.cases_table import write_cases
from segmend.data.check import load_case
from segmend.data.folder import DataFolder, read_folder
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.evidence import without_evidence as cases_without_evidence
from segmend.engine.evidence import write_evidence
from segmend.engine.folds import hide_fold
from segmend.engine.options import TrainingOptions
from segmend.engine.run import Run
from segmend.engine.segmenter import Segmenter

FEWEST_EXPERTS = 4
"""Expert labels from which on they are held out, too: every model is still trained on half of them or more."""


def held_out_cases(cases: Sequence[Case]) -> list[Case]:
    """Training cases that are held out: all labelled ones, except a few expert labels that training cannot spare.

    Args:
        cases: of the data folder.
    """
    labelled = [case for case in cases if case.split is Split.TRAIN and case.training_label]
    noisy = [case for case in labelled if case.quality is Quality.NOISY]
    return labelled if not noisy or len(labelled) - len(noisy) >= FEWEST_EXPERTS else noisy


@dataclass(frozen=True)
class Folds:
    """Cross-validation models: each judges the labels that were held out from its training.

    Attributes:
        folder: the data folder.
        fold_of: fold of each held-out case, from 1.
        duplicate_scans: first case with the same scan, for every case that is not the first.
        training: ``train`` with all its arguments but ``out``, ``cases`` and ``options``.
        options: of the trainings.
        weights: run from whose weights the training of a fold starts, by its number; None starts from random ones.
    """

    folder: DataFolder
    fold_of: Mapping[str, int]
    duplicate_scans: Mapping[str, str]
    training: partial[Run | CrossValidation]
    options: TrainingOptions
    weights: Callable[[int], Path] | None = None

    def collect(self, cases: Sequence[Case], out: AuditFolder) -> dict[str, int]:
        """Write the missing evidence, and train the models that it needs.

        Args:
            cases: cases to judge; those that belong to no fold are in the training set of every model.
            out: where tables, runs and evidence are.

        Returns:
            Fold of the model that judged each case.
        """
        count = max(self.fold_of.values())
        evaluating_fold = {
            case.name: self.fold_of.get(case.name, 1 + place % count) for place, case in enumerate(cases)
        }
        for fold in range(1, count + 1):
            missing = without_evidence([case for case in cases if evaluating_fold[case.name] == fold], self.folder, out)
            if not missing and not out.fold(fold).exists():
                continue
            say(f"fold {fold} of {count}")
            # A finished run is not repeated; but it is made sure that it is one of these arguments.
            run = self._train(fold, out)
            if missing:
                predict_evidence(missing, self.folder, [run], self.options.precision, out)
        return evaluating_fold

    def _train(self, fold: int, out: AuditFolder) -> Run:
        table = out.fold_cases(fold)
        with atomic_file(table) as temporary:
            write_cases(temporary, hide_fold(self.folder.cases, self.fold_of, fold, self.duplicate_scans))
        options = replace(self.options, weights=self.weights(fold)) if self.weights else self.options
        run = self.training(out=out.fold(fold), cases=table, options=options)
        assert isinstance(run, Run)
        return run


def predict_evidence(
    cases: Sequence[Case], folder: DataFolder, runs: Sequence[Run], precision: Precision, out: AuditFolder
) -> None:
    """Writes the mean probabilities of some runs as the evidence of the cases."""
    segmenters = [Segmenter(run.method().to(best_device()), run.task, precision=precision) for run in runs]
    for case in track(cases, "predicting"):
        loaded = load_case(case, folder)
        maps = [segmenter.probabilities(loaded.image, loaded.grid) for segmenter in segmenters]
        write_evidence(out.evidence(case.name), _means(maps))


def without_evidence(cases: Sequence[Case], folder: DataFolder, out: AuditFolder) -> list[Case]:
    """The cases without evidence; a damaged file does not count, and is made again."""
    return cases_without_evidence(cases, folder.classes, out.evidence)


def check_runs(runs: Sequence[Run], folder: DataFolder) -> None:
    """Makes sure that runs can judge a data folder.

    Raises:
        InputError: a run has other classes or channels, or is damaged.
    """
    for run in runs:
        run.method()
        if run.task.labels != folder.labels:
            problem = f"was trained for the labels {run.task.labels}, but the data have {folder.labels}"
            raise InputError(run.path, problem, "give a run of these classes", code="mismatch")
        if run.task.channel_names != folder.channel_names:
            problem = f"was trained on {', '.join(run.task.channel_names)}, not {', '.join(folder.channel_names)}"
            raise InputError(run.path, problem, "give a run of these channels", code="mismatch")


def trained_on(run: Run) -> set[str] | None:
    """Names of the cases whose labels a run was trained on; None if its data folder is no longer there.

    What the run has written down counts more than what the folder holds by now.
    """
    data, table = run.config.get("data"), run.config.get("cases")
    folder, _ = read_folder(Path(str(data)), Path(table) if table else None)
    if folder is None:
        return None
    if run.data_state:
        cases = run.data_state.cases
        return {name for name, case in cases.items() if case["label"] and case["split"] == Split.TRAIN}
    return {case.name for case in folder.select(Split.TRAIN) if case.training_label}


def _means(maps: Sequence[Iterator[NDArray[np.float32]]]) -> Iterator[NDArray[np.float32]]:
    for of_class in zip(*maps, strict=True):
        mean: NDArray[np.float32] = sum(of_class) / np.float32(len(of_class))
        yield mean
