"""Several trained runs that segment scans together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

from segmend.core.errors import InputError
from segmend.engine.cross_validation import CrossValidation, opened
from segmend.engine.ensemble import Ensemble, check_tasks
from segmend.engine.quality_calibration import Calibration
from segmend.engine.run import Run
from segmend.engine.task import Task
from segmend.engine.trained import Predicts, Windows


class RunEnsemble(Predicts):
    """Segments scans (``predict``) and scores data folders (``evaluate``) by the mean probabilities of several runs.

    The runs must have the same classes, channels, spacing, patch and mirroring; each normalises intensities by its own
    statistics. Networks and methods may differ.

    Args:
        paths: run folders, or those of cross-validations, whose runs count as one each.

    Raises:
        InputError: there is none, or one is given twice.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        places = [Path(path) for path in paths]
        if not places:
            raise InputError("run", "names no run", "give the folder of one run or several", code="missing-value")
        twice = [path for number, path in enumerate(places) if path.resolve() in [p.resolve() for p in places[:number]]]
        if twice:
            raise InputError("run", f"names {twice[0]} twice", "name each run once", code="duplicate")
        self.sources = tuple(opened(path) for path in places)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, those of cross-validations one by one."""
        runs: list[Run] = []
        for source in self.sources:
            runs += source.runs if isinstance(source, CrossValidation) else [source]
        return tuple(runs)

    @property
    def task(self) -> Task:
        """What the networks were made for.

        Raises:
            InputError: a cross-validation is not finished, or the runs do not fit each other.
        """
        tasks = [source.task for source in self.sources]
        remedy = "give runs of the same classes, channels, spacing, patch and mirroring"
        check_tasks(tasks, "run", "run", remedy)
        return tasks[0]

    def calibration(self, which: Literal["last", "best"] = "last") -> Calibration:
        """None: the cases of different trainings may be the same."""
        return Calibration(reason="several runs together have no out-of-fold predictions")

    def weights(self, which: Literal["last", "best"]) -> tuple[Path, ...]:
        """The file of a checkpoint of each run."""
        return tuple(run.checkpoint(which) for run in self.runs)

    def segmenter(self, which: Literal["last", "best"] = "last", **windows: Unpack[Windows]) -> Ensemble:
        """Segment by the mean probabilities of all runs.

        Args:
            which: the last checkpoint, or the best on the validation split.
            windows: as ``segmend.engine.segmenter.Segmenter`` takes them. By default all components are kept.

        Raises:
            InputError: as ``task``; or a file is missing or damaged.
        """
        _ = self.task  # makes sure that they fit
        largest = windows.pop("largest", False)
        return Ensemble(tuple(run.segmenter(which, **windows) for run in self.runs), largest)


def opened_together(paths: Sequence[Path]) -> Predicts:
    """What segments scans by the runs in some folders: a run, a cross-validation, or several of them together."""
    return opened(paths[0]) if len(paths) == 1 else RunEnsemble(paths)
