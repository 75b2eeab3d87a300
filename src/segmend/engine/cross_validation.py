"""The folder of a cross-validation: its runs, who is held out where, and what they make of the held-out cases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

from segmend.core.errors import InputError
from segmend.core.paths import is_file, read_json
from segmend.engine.ensemble import Ensemble, check_tasks
from segmend.engine.folds import Assignment
from segmend.engine.quality_calibration import Calibration
from segmend.engine.run import Run
from segmend.engine.task import Task
from segmend.engine.trained import Predicts, Windows


@dataclass(frozen=True)
class CrossValidation(Predicts):
    """A folder that ``segmend train --folds`` writes: runs that each hold out the labels of a fold.

    It segments scans (``predict``) and scores data folders (``evaluate``) as a run does, by the mean probabilities
    of all folds.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def file(self) -> Path:
        """The assignment of the cases, by which such a folder is recognised."""
        return self.path / "folds.json"

    @cached_property
    def assignment(self) -> Assignment:
        """Which fold holds out which case.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            return Assignment.from_json(read_json(self.file))
        except ValueError as error:
            if isinstance(error, InputError) and not is_file(self.file):
                raise InputError(
                    self.path,
                    "is no cross-validation: it has no folds.json",
                    "give the folder that 'segmend train' wrote for `folds`",
                    code="missing-file",
                ) from error
            reason = error.problem if isinstance(error, InputError) else error
            remedy = "restore it from a copy, or train again in another folder"
            raise InputError(self.file, f"is damaged ({reason})", remedy, code="damaged") from error

    @property
    def numbers(self) -> range:
        """The folds, from 1."""
        return range(1, self.assignment.folds + 1)

    def run(self, fold: int) -> Run:
        """The run that holds out the labels of a fold."""
        return Run(self.path / f"fold_{fold}")

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all folds, whether or not they were begun."""
        return tuple(map(self.run, self.numbers))

    def cases(self, fold: int) -> Path:
        """Table of cases in which the labels of a fold are hidden."""
        return self.path / "folds" / f"{fold}.csv"

    def out_of_fold(self, case: str) -> Path:
        """Probabilities of a case, by the run that holds out its label."""
        return self.path / "out_of_fold" / f"{case}.npz"

    def scores(self, fold: int) -> Path:
        """Scores of the held-out cases of a fold, a row for each case and class."""
        return self.path / "out_of_fold" / f"fold_{fold}.csv"

    def record(self, fold: int) -> Path:
        """Digest of the weights that the out-of-fold probabilities of a fold are of; written last for each fold."""
        return self.path / "out_of_fold" / f"fold_{fold}.json"

    @property
    def summary_table(self) -> Path:
        """Scores of all held-out cases, with the columns of 'segmend evaluate'."""
        return self.path / "summary.csv"

    @property
    def postprocessing(self) -> Path:
        """Dice of each class with all components and with the largest only, and which was chosen."""
        return self.path / "postprocessing.json"

    @property
    def calibration_file(self) -> Path:
        """Temperatures by which the expected Dice of a prediction is calibrated (``quality_calibration``)."""
        return self.path / "calibration.json"

    @property
    def summary_file(self) -> Path:
        """Mean and spread of the scores of each class; written last."""
        return self.path / "summary.json"

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``.

        Raises:
            InputError: not all folds are finished, or the file is damaged.
        """
        self.require_finished()
        return self._json(self.summary_file)

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Folds that were not trained to their end, or whose held-out cases were not predicted."""
        return tuple(
            fold
            for fold in self.numbers
            if not (self.run(fold).finished and is_file(self.record(fold)) and is_file(self.scores(fold)))
        )

    @property
    def finished(self) -> bool:
        """Whether all folds are finished, and their summary is written."""
        return not self.unfinished and is_file(self.summary_file)

    def require_finished(self) -> None:
        """Make sure that all folds can be used together.

        Raises:
            InputError: some are not finished; it names them.
        """
        missing = self.unfinished
        if missing or not self.finished:
            folds = self.assignment.folds
            which = (
                f"folds {', '.join(map(str, missing))} of {folds} are"
                if len(missing) > 1
                else (f"fold {missing[0]} of {folds} is" if missing else "its summary is")
            )
            remedy = f"run the same 'segmend train' with `folds {folds}` again, which finishes it"
            raise InputError(self.path, f"is not complete: {which} not finished", remedy, code="unfinished")

    @property
    def task(self) -> Task:
        """What the networks were made for.

        Raises:
            InputError: some folds are not finished, or their runs do not fit each other.
        """
        self.require_finished()
        check_tasks([run.task for run in self.runs], self.path)
        return self.runs[0].task

    @property
    def largest(self) -> tuple[int, ...]:
        """Indices of the classes that keep their largest component only, as out-of-fold predictions decided."""
        names = list(self.task.labels)
        content = self._json(self.postprocessing)
        try:
            return tuple(names.index(name) for name, entry in content["largest_component"].items() if entry["applied"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._damaged(self.postprocessing, repr(error)) from error

    def calibration(self, which: Literal["last", "best"] = "last") -> Calibration:
        """As ``Predicts.calibration``: chosen on the out-of-fold predictions, which are of the last checkpoints."""
        if which != "last":
            return Calibration(reason="out-of-fold predictions are of the last checkpoints")
        if self.task.regions:
            return Calibration(reason="it is that of classes, and the true Dice is known of regions")
        if not is_file(self.calibration_file):
            return Calibration(reason="calibration.json is missing; the same 'segmend train' again writes it")
        return Calibration.read(self.calibration_file)

    def weights(self, which: Literal["last", "best"]) -> tuple[Path, ...]:
        """The file of a checkpoint of each fold."""
        return tuple(run.checkpoint(which) for run in self.runs)

    def segmenter(self, which: Literal["last", "best"] = "last", **windows: Unpack[Windows]) -> Ensemble:
        """Segment by the mean probabilities of all folds.

        Args:
            which: the last checkpoint, or the best on the validation split.
            windows: as ``segmend.engine.segmenter.Segmenter`` takes them. ``largest`` is by default what was chosen on
                out-of-fold predictions.

        Raises:
            InputError: some folds are not finished, or a file is missing or damaged.
        """
        self.require_finished()
        check_tasks([run.task for run in self.runs], self.path)
        largest = windows.pop("largest", None)
        members = tuple(run.segmenter(which, **windows) for run in self.runs)
        return Ensemble(members, self.largest if largest is None else largest)

    def _json(self, file: Path) -> dict[str, Any]:
        try:
            return read_json(file)
        except InputError as error:
            raise self._damaged(file, error.problem) from error

    def _damaged(self, file: Path, reason: str) -> InputError:
        remedy = "run the same 'segmend train' again, which writes it"
        return InputError(file, f"is damaged ({reason})", remedy, code="damaged")


def opened(path: Path) -> Run | CrossValidation:
    """The run or the cross-validation in a folder; a folder that is neither counts as a run, which then says so."""
    whole = CrossValidation(path)
    return whole if is_file(whole.file) else Run(path)
