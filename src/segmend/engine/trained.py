"""What can be done with a trained run from Python: segment scans in memory, and score a data folder."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from segmend.core.case import Split
from segmend.core.errors import Code, InputError
from segmend.core.grid import is_usable
from segmend.core.masks import IGNORE
from segmend.core.precision import Precision, best_device
from segmend.core.progress import track
from segmend.core.regions import annotated_objects
from segmend.data.cache import digest_of
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.data.headers import check_grids
from segmend.data.image import Grid, read_image
from segmend.engine.ensemble import Ensemble
from segmend.engine.quality import QualitySums, view_axes
from segmend.engine.quality_calibration import Calibration
from segmend.engine.segmenter import Segmenter
from segmend.engine.task import Task
from segmend.inference import Weighting
from segmend.methods import Method
from segmend.metrics.evaluation import Score, score_case
from segmend.metrics.results import to_table

Scan = ArrayLike | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""An array ``[*spatial]`` or ``[channels, *spatial]``, a file, or one file for each channel."""


class Windows(TypedDict, total=False):
    """How a scan is cut into windows, as ``Segmenter`` describes."""

    overlap: float
    stride: tuple[int, ...] | None
    weighting: Weighting
    flips: bool | tuple[int, ...]
    largest: bool | Collection[int]
    precision: Precision
    batch: int | None
    temperature: float


class Predicts(ABC):
    """What scans can be segmented with: a run, or the runs of a cross-validation together."""

    @property
    @abstractmethod
    def task(self) -> Task:
        """What the network was made for."""

    @abstractmethod
    def weights(self, which: Literal["last", "best"]) -> tuple[Path, ...]:
        """The files of a checkpoint of each run."""

    @abstractmethod
    def segmenter(self, which: Literal["last", "best"] = "last", **windows: Unpack[Windows]) -> Segmenter | Ensemble:
        """Segments scans with a checkpoint, whose weights stay in memory until the file changes.

        Args:
            which: the last checkpoint, or the best on the validation split.
            windows: as ``segmend.engine.segmenter.Segmenter`` takes them.

        Raises:
            InputError: there is no such checkpoint, or it is damaged.
        """

    def calibration(self, which: Literal["last", "best"] = "last") -> Calibration:
        """What calibrates the expected Dice of predictions, or why nothing does.

        Args:
            which: the checkpoint that predicts.

        Raises:
            InputError: the calibration is damaged.
        """
        return Calibration()

    @overload
    def predict(
        self,
        scan: Scan,
        *,
        spacing: Sequence[float] | None = None,
        affine: ArrayLike | None = None,
        probabilities: Literal[False] = False,
        checkpoint: Literal["last", "best"] = "last",
        **windows: Unpack[Windows],
    ) -> NDArray[np.integer]: ...

    @overload
    def predict(
        self,
        scan: Scan,
        *,
        spacing: Sequence[float] | None = None,
        affine: ArrayLike | None = None,
        probabilities: Literal[True],
        checkpoint: Literal["last", "best"] = "last",
        **windows: Unpack[Windows],
    ) -> tuple[NDArray[np.integer], NDArray[np.float32]]: ...

    def predict(
        self,
        scan: Scan,
        *,
        spacing: Sequence[float] | None = None,
        affine: ArrayLike | None = None,
        probabilities: bool = False,
        checkpoint: Literal["last", "best"] = "last",
        **windows: Unpack[Windows],
    ) -> NDArray[np.integer] | tuple[NDArray[np.integer], NDArray[np.float32]]:
        """Segment one scan.

        Args:
            scan: an image file, a list of files (one for each channel), or an array ``[*spatial]`` or
                ``[channels, *spatial]`` with axes x, y, z.
            spacing: of an array whose axes run to the right, front and top of the patient (RAS): mm from voxel to
                voxel along each axis. Files have their own.
            affine: of an array in any other orientation, instead: ``[4, 4]``, voxel index to RAS mm.
            probabilities: also return ``[classes, *spatial]``, in the order of ``task.labels``, summing to 1.
            checkpoint: the last one, or the best on the validation split.
            windows: as ``segmend.engine.segmenter.Segmenter`` takes them, such as ``overlap`` and ``flips``.

        Returns:
            Label values ``[*spatial]`` on the grid of the scan, as in the training data; with ``probabilities`` a pair.

        Raises:
            InputError: the scan cannot be read, or is not like those of the training; or the run has no checkpoint.
        """
        image, grid = self._read(scan, spacing, affine)
        segmenter = self.segmenter(checkpoint, **windows)
        values = np.array(list(self.task.labels.values()))
        label = values.astype(np.min_scalar_type(values.max()))[segmenter.classes(image, grid)]
        return (label, np.stack(list(segmenter.probabilities(image, grid)))) if probabilities else label

    def quality(
        self,
        scan: Scan,
        *,
        spacing: Sequence[float] | None = None,
        affine: ArrayLike | None = None,
        checkpoint: Literal["last", "best"] = "last",
        **windows: Unpack[Windows],
    ) -> tuple[NDArray[np.float32], pd.DataFrame]:
        """Find out how certain a prediction is and the Dice to expect of it, as 'segmend predict --uncertainty true'.

        Args:
            scan: as ``predict`` takes it, with ``spacing`` or ``affine``.
            spacing: of an array.
            affine: of an array, instead.
            checkpoint: the last one, or the best on the validation split.
            windows: of the prediction. Probabilities are averaged over flips whether or not it is.

        Returns:
            Normalised entropy ``[*spatial]`` on the grid of the scan, 0..1, and a row for each foreground class with
            the columns of quality.csv.

        Raises:
            InputError: as ``predict``.
        """
        image, grid = self._read(scan, spacing, affine)
        segmenter = self.segmenter(checkpoint, **windows)
        calibration = self.calibration(checkpoint)
        if windows.get("temperature", 1.0) != 1:
            calibration = Calibration(reason="a temperature was given")
        labels, regions = list(self.task.labels), self.task.regions
        sums = QualitySums(segmenter.classes(image, grid), labels, grid.spacing, calibration, regions)
        in_views: Windows = {**windows, "flips": view_axes(self.task)}
        for of_class in self.segmenter(checkpoint, **in_views).probabilities(image, grid):
            sums.add(of_class)
        return sums.entropy(), pd.DataFrame(map(asdict, sums.rows("scan"))).drop(columns="case")

    def evaluate(
        self,
        data: str | os.PathLike[str],
        *,
        split: Literal["train", "val", "test"] = "test",
        tolerance: float = 1.0,
        checkpoint: Literal["last", "best"] = "last",
        **windows: Unpack[Windows],
    ) -> pd.DataFrame:
        """Segment the labelled cases of a data folder and score them against their labels. Nothing is written.

        Args:
            data: the data folder, with the classes and channels of the training.
            split: the cases to take.
            tolerance: distance in mm within which surfaces agree (column ``nsd``).
            checkpoint: the last one, or the best on the validation split.
            windows: as ``segmend.engine.segmenter.Segmenter`` takes them.

        Returns:
            A row for each case and foreground class, with the columns of 'segmend evaluate'; distances in mm, NaN
            where a metric is undefined. Voxels and classes that are not annotated are left out.

        Raises:
            InputError: the data do not fit the run, a file cannot be used, or no case of the split has a label.
        """
        folder = DataFolder.open(Path(data))
        self.check_data_folder(folder)
        cases = [case for case in folder.select(Split(split)) if case.training_label]
        if not cases:
            problem = f"has no case of the split '{split}' with a label"
            raise InputError(folder.root, problem, "choose another `split`", code="no-data")
        segmenter = self.segmenter(checkpoint, **windows)
        scores: list[Score] = []
        for case in track(cases, "evaluating cases"):
            loaded = load_case(case, folder)
            assert loaded.label is not None
            known = loaded.label != IGNORE
            objects = annotated_objects(self.task.objects, case.annotated)
            predicted, true = (
                np.where(known, array, 0) for array in (segmenter.classes(loaded.image, loaded.grid), loaded.label)
            )
            scores += score_case(case.name, predicted, true, objects, loaded.grid.spacing, tolerance).values()
        return to_table(scores)

    def _read(
        self, scan: Scan, spacing: Sequence[float] | None, affine: ArrayLike | None
    ) -> tuple[NDArray[np.float32], Grid]:
        if isinstance(scan, (str, os.PathLike)):
            return read_scan([Path(scan)], self.task)
        if isinstance(scan, Sequence) and scan and all(isinstance(each, (str, os.PathLike)) for each in scan):
            return read_scan([Path(str(each)) for each in scan], self.task)
        return scan_of_array(np.asarray(scan), spacing, affine, self.task)

    def check_data_folder(self, folder: DataFolder) -> None:
        """Make sure that a data folder has the classes and channels of the training.

        Raises:
            InputError: it has not.
        """
        pairs: Mapping[str, tuple[object, object]] = {
            "classes": (folder.labels, self.task.labels),
            "regions": (dict(folder.regions), dict(self.task.regions)),
            "channels": (list(folder.channel_names), list(self.task.channel_names)),
        }
        for kind, (found, wanted) in pairs.items():
            if found != wanted:
                problem = f"has the {kind} {found}, but the run was trained for {wanted}"
                raise InputError(folder.root, problem, f"give data of the same {kind}", code="mismatch")


class Trained(Predicts):
    """A single trained method with all that prediction needs; ``Run`` is one."""

    @abstractmethod
    def checkpoint(self, which: Literal["last", "best"]) -> Path:
        """The file of a checkpoint."""

    @abstractmethod
    def method(self, checkpoint: Path | None = None) -> Method:
        """The method with the weights of a checkpoint, in evaluation mode."""

    def weights(self, which: Literal["last", "best"]) -> tuple[Path, ...]:
        """The file of a checkpoint."""
        return (self.checkpoint(which),)

    def segmenter(self, which: Literal["last", "best"] = "last", **windows: Unpack[Windows]) -> Segmenter:
        """As ``Predicts.segmenter``."""
        file = self.checkpoint(which)
        key = digest_of(file, self.task) if file.is_file() else ""
        if key not in self._loaded:
            self._loaded.clear()
            self._loaded[key] = self.method(file).to(best_device())
        return Segmenter(self._loaded[key], self.task, **windows)

    @cached_property
    def _loaded(self) -> dict[str, Method]:
        return {}


def read_scan(files: Sequence[Path], task: Task) -> tuple[NDArray[np.float32], Grid]:
    """Read a scan for a run: ``[channels, *spatial]`` and its grid.

    Args:
        files: one for each channel, or one with all of them.
        task: what the run was trained for.

    Raises:
        InputError: a file cannot be read, does not lie over the others, or the scan is not like those of the training.
    """
    arrays, grids = zip(*[read_image(file) for file in files], strict=True)
    check_grids(files, grids, len(task.preprocessing.spacing))
    image, grid = np.concatenate(arrays), grids[0]
    task.preprocessing.require_room(files[0], grid, len(image))
    _check_image(files[0], image, task)
    return image, grid


def scan_of_array(
    array: NDArray[Any], spacing: Sequence[float] | None, affine: ArrayLike | None, task: Task
) -> tuple[NDArray[np.float32], Grid]:
    """Take an array for a scan: ``[channels, *spatial]`` float32, and its grid.

    Args:
        array: ``[*spatial]`` of a single channel, or ``[channels, *spatial]``.
        spacing: mm from voxel to voxel along each spatial axis, if these run to the right, front and top (RAS).
        affine: ``[4, 4]``, voxel index to RAS mm, instead of the spacing.
        task: what the run was trained for.

    Raises:
        InputError: it is not like the scans of the training, or neither spacing nor affine can be used.
    """
    axes = len(task.preprocessing.spacing)
    image = array[None] if array.ndim == axes else array
    if image.ndim != axes + 1 or not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        problem = f"is an array of shape {array.shape} and type {array.dtype}"
        raise InputError("scan", problem, f"give numbers [channels, {', '.join('xyz'[:axes])}]", code="mismatch")
    if (spacing is None) == (affine is None):
        problem = "is needed for an array, or `affine` instead" if spacing is None else "and `affine` are both given"
        code: Code = "missing-value" if spacing is None else "mismatch"
        raise InputError("spacing", problem, "give one of them, in mm", code=code)
    if spacing is not None and (len(spacing) != axes or not all(np.isfinite(each) and each > 0 for each in spacing)):
        raise InputError("spacing", f"is {spacing}", f"give {axes} distances in mm", code="invalid-value")
    placed = np.diag([*spacing, *[1.0] * (4 - axes)]) if spacing is not None else np.asarray(affine, dtype=np.float64)
    if placed.shape != (4, 4) or not is_usable(placed):
        raise InputError(
            "affine", f"is {placed.tolist()}", "give a [4, 4] matrix, voxel index to RAS mm", code="invalid-value"
        )
    image = image.astype(np.float32)
    _check_image("scan", image, task)
    return image, Grid(image.shape[1:], placed)


def _check_image(where: object, image: NDArray[np.float32], task: Task) -> None:
    if len(image) != len(task.channel_names):
        problem = f"has {len(image)} channels, but the run wants {', '.join(task.channel_names)}"
        raise InputError(where, problem, "give images like those of the training", code="mismatch")
    if not np.isfinite(image).all():
        raise InputError(
            where, "holds voxels that are NaN or infinite", "replace them, for example by 0", code="invalid-value"
        )
