"""segmend predict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.folders import check_continuable, continued_folder, is_whole
from segmend.core.io import atomic_file
from segmend.core.precision import Precision
from segmend.core.progress import say, track
from segmend.core.tables import write_rows
from segmend.data.cache import digest_of
from segmend.data.headers import check_scan, collected, raise_all
from segmend.data.image import is_image_file
from segmend.data.maps import MapNames
from segmend.data.scans import scans_of
from segmend.engine.prediction_files import PredictionFiles
from segmend.engine.quality import Quality, view_axes
from segmend.engine.quality_calibration import Calibration
from segmend.engine.run_ensemble import opened_together
from segmend.engine.task import Task
from segmend.engine.trained import Windows, read_scan
from segmend.inference import Weighting


def predict(
    *,
    run: Path | list[Path],
    images: Path | list[Path],
    out: Path,
    probabilities: bool = False,
    uncertainty: bool = False,
    checkpoint: Literal["last", "best"] = "last",
    overlap: float = 0.5,
    stride: Sequence[int] | None = None,
    weighting: Weighting = "gaussian",
    flips: bool = False,
    largest_component: bool | None = None,
    precision: Precision = "auto",
    batch: int | None = None,
) -> list[Path]:
    """Segment scans with a trained run, with several, or with all folds of a cross-validation.

    Every label is written over its scan: same grid, same header, values as in the training data. If the command is
    stopped, what it has predicted stays, with a file 'unfinished.txt', and the same command continues. A scan that
    cannot be used is named before any work starts; if that is seen only when its voxels are read, all others are
    predicted first.

    Args:
        run: a run folder; that of a cross-validation ('segmend train --folds'); or several of either. The
            probabilities of several runs are averaged, each run of a cross-validation counting as one.
        images: a folder of scans named CASE_0000.ENDING, CASE_0001.ENDING...: one file for each channel; or one such
            file, or several, with or without a number. The case is named by what comes before the number.
        out: the folder to write labels CASE.ENDING to; it must not hold anything yet.
        probabilities: also write one map for each class, as CASE_CLASS.nii.gz in the folder 'probabilities'; where
            two of these would be the same, underscores of the longer class name become %5F.
        uncertainty: also write how certain each voxel is, as CASE.nii.gz in the folder 'uncertainty', and the Dice to
            expect of each class, in quality.csv; of a cross-validation it is calibrated. Both come from averages over
            flips along the axes that the run mirrors, two predictions for each such axis; docs/uncertainty.md explains
            them.
        checkpoint: the last checkpoint, or the best on the validation split if there was one.
        overlap: fraction of a window that the next one covers.
        stride: voxels from window to window instead; 18 18 4 with patch 112 112 80 is that of the papers.
        weighting: gaussian trusts the middle of a window more; uniform is that of the papers.
        flips: average over flips along all axes; slower, often a little better.
        largest_component: keep only the largest component of each class. By default no, but of a cross-validation
            those classes for which that was better on out-of-fold predictions.
        precision: bf16 where the hardware has it (auto), or one of the two.
        batch: windows at a time; chosen by default.

    Returns:
        The label files written.

    Raises:
        InputError: something given cannot be used.

    Example:
        segmend predict --run RUN --images DATA/imagesTs --out PREDICTIONS
    """
    if out.is_dir() and not is_whole(out):
        stopping.promise("continue")
    source = opened_together(run if isinstance(run, list) else [run])
    scans = scans_of(images, len(source.task.channel_names))
    place = images if isinstance(images, Path) else "images"
    _check_windows(overlap, stride, source.task)
    windows: Windows = {
        "overlap": overlap,
        "stride": tuple(stride) if stride is not None else None,
        "weighting": weighting,
        "flips": flips,
        "precision": precision,
        "batch": batch,
    }
    if largest_component is not None:
        windows["largest"] = largest_component
    segmenter = source.segmenter(checkpoint, **windows)
    in_views: Windows = {**windows, "flips": view_axes(source.task)}
    views = source.segmenter(checkpoint, **in_views) if uncertainty else None
    calibration = source.calibration(checkpoint) if uncertainty else None
    identity = {
        "images": [str(path.resolve()) for path in images] if isinstance(images, list) else str(images.resolve()),
        "weights": digest_of(*source.weights(checkpoint), source.task),
        "probabilities": probabilities,
        "uncertainty": uncertainty,
        "calibration": asdict(calibration) if calibration else None,
        "windows": [overlap, segmenter.stride, weighting, flips, segmenter.largest, precision],
        "version": version("segmend"),
    }
    check_continuable(out, identity)
    _check_scans(place, scans, source.task)
    maps = MapNames(scans, source.task.labels) if probabilities else None
    if maps:
        maps.check(place)
    problems: list[InputError] = []
    with continued_folder(out, identity, keep_after_errors=True) as folder:
        files_of = PredictionFiles(folder, segmenter, maps, views, calibration)
        finished = _Finished(folder)
        remaining = finished.without(scans)
        if finished.count:
            say(f"{finished.count} of {len(scans)} scans are predicted already")
        for name, files in track(remaining.items(), "predicting", done=finished.count):
            if finished.count:
                stopping.promise(f"continue ({finished.count} of {len(scans)} scans are predicted)")
            digest = digest_of(*files)
            try:
                image, grid = read_scan(files, source.task)
            except InputError as error:
                problems.append(error)
                continue
            finished.add(name, digest, *files_of.write(name, image, grid, like=files[0]))
        finished.write_quality(scans)
        raise_all(place, "scans", problems, f" (the labels of the others are in {out})" if finished.count else "")
        finished.close()
    say(f"{len(scans)} scans segmented: {out}")
    if calibration:
        _say_calibration(calibration, source.task)
    return sorted(path for path in out.iterdir() if is_image_file(path))


def _say_calibration(calibration: Calibration, task: Task) -> None:
    for label in task.objects:
        say(f"expected Dice of '{label}': {calibration.note(label)}")


def _check_windows(overlap: float, stride: Sequence[int] | None, task: Task) -> None:
    if not 0 <= overlap < 1:
        raise InputError("overlap", f"is {overlap}", "give a share from 0 to below 1", code="invalid-value")
    if stride is not None and len(stride) != len(task.patch):
        raise InputError("stride", f"is {list(stride)}", f"give {len(task.patch)} numbers", code="invalid-value")


class _Finished:
    """The scans that were predicted in an unfinished folder, in a table there.

    Args:
        folder: with what earlier calls of the same command have finished.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._table = folder, folder / "finished.jsonl"
        self._entries: dict[str, dict[str, Any]] = {}
        lines = self._table.read_text(encoding="utf-8").splitlines() if self._table.is_file() else []
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):  # the last one may be cut off
                entry = json.loads(line)
                self._entries[entry["case"]] = entry
        self._write()

    @property
    def count(self) -> int:
        """Number of finished scans."""
        return len(self._entries)

    def without(self, scans: Mapping[str, list[Path]]) -> dict[str, list[Path]]:
        """The scans that are still to be predicted; what was made of others, or of these before they changed, goes."""
        for name, entry in list(self._entries.items()):
            files = [self._folder / file for file in entry["files"]]
            if name not in scans or digest_of(*scans[name]) != entry["digest"] or not all(map(Path.is_file, files)):
                for file in files:
                    file.unlink(missing_ok=True)
                del self._entries[name]
        self._write()
        return {name: files for name, files in scans.items() if name not in self._entries}

    def add(self, name: str, digest: str, files: Sequence[Path], quality: Sequence[Quality]) -> None:
        """Takes down that a scan is finished."""
        written = [file.relative_to(self._folder).as_posix() for file in files]
        rows = [asdict(row) for row in quality]
        self._entries[name] = {"case": name, "digest": digest, "files": written, "quality": rows}
        with self._table.open("a", encoding="utf-8") as table:
            table.write(json.dumps(self._entries[name]) + "\n")

    def write_quality(self, order: Iterable[str]) -> None:
        """Writes quality.csv, the scans in this order of their names, if anything is known for it."""
        entries = [self._entries[name] for name in order if name in self._entries]
        if rows := [Quality(**row) for entry in entries for row in entry["quality"]]:
            write_rows(self._folder / "quality.csv", Quality, rows)

    def close(self) -> None:
        """Removes the table: everything is finished."""
        self._table.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._entries:
            lines = [json.dumps(entry) + "\n" for entry in self._entries.values()]
            with atomic_file(self._table) as file:
                file.write_text("".join(lines), encoding="utf-8")
        else:
            self.close()


def _check_scans(images: object, scans: Mapping[str, list[Path]], task: Task) -> None:
    """Looks at the headers and lengths of all files before any work starts."""
    dimensions = len(task.preprocessing.spacing)
    checks = map(partial(check_scan, dimensions=dimensions), track(scans.values(), "checking scans"))
    raise_all(images, "scans", list(collected(checks)))
