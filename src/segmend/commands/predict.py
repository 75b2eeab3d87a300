"""segmend predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segmend.data.image import Grid, case_name, is_image_file, read_image, write_label, write_map
from segmend.errors import InputError
from segmend.inference import Weighting
from segmend.outputs import check_free, whole_folder
from segmend.precision import Precision, best_device
from segmend.progress import track
from segmend.run import Run, Task
from segmend.segmenter import Segmenter


def predict(
    *,
    run: Path,
    images: Path,
    out: Path,
    probabilities: bool = False,
    checkpoint: Literal["last", "best"] = "last",
    overlap: float = 0.5,
    stride: Sequence[int] | None = None,
    weighting: Weighting = "gaussian",
    flips: bool = False,
    largest_component: bool = False,
    precision: Precision = "auto",
    batch: int | None = None,
) -> list[Path]:
    """Segments all scans of a folder with a trained run.

    Every label is written over its scan: same grid, same header, values as in the training data.

    Args:
        run: a run folder.
        images: a folder of scans named CASE_0000.ENDING, CASE_0001.ENDING...: one file for each channel.
        out: the folder to write labels CASE.ENDING to; it must not hold anything yet.
        probabilities: also write one map for each class, as CASE_CLASS.nii.gz in the folder 'probabilities'.
        checkpoint: the last checkpoint, or the best on the validation split if there was one.
        overlap: share of a window that the next one covers.
        stride: voxels from window to window instead; 18 18 4 with patch 112 112 80 is that of the papers.
        weighting: gaussian trusts the middle of a window more; uniform is that of the papers.
        flips: average over flips along all axes; slower, often a little better.
        largest_component: keep only the largest component of each class.
        precision: bf16 where the hardware has it (auto), or one of the two.
        batch: windows at a time; chosen by default.

    Returns:
        The label files written.

    Raises:
        InputError: something given cannot be used.

    Example:
        segmend predict --run RUN --images DATA/imagesTs --out PREDICTIONS
    """
    source = Run(run)
    if not 0 <= overlap < 1:
        raise InputError("--overlap", f"is {overlap}", "give a share from 0 to below 1")
    scans = find_scans(images, len(source.task.channel_names))
    check_free(out)
    if stride is not None and len(stride) != len(source.task.patch):
        raise InputError("--stride", f"is {list(stride)}", f"give {len(source.task.patch)} numbers")
    method = source.method(source.best if checkpoint == "best" else source.last).to(best_device())
    segmenter = Segmenter(
        method,
        source.task,
        overlap=overlap,
        stride=tuple(stride) if stride is not None else None,
        weighting=weighting,
        flips=flips,
        largest=largest_component,
        precision=precision,
        batch=batch,
    )
    values = np.array(list(source.task.labels.values()))
    names = list(source.task.labels)
    with whole_folder(out) as folder:
        for name, files in track(scans.items(), "predicting"):
            image, grid = _read_scan(files, source.task)
            ending = files[0].name[len(case_name(files[0])) :]
            write_label(folder / f"{name}{ending}", values[segmenter.classes(image, grid)], like=files[0])
            if probabilities:
                for label, of_class in zip(names, segmenter.probabilities(image, grid), strict=True):
                    write_map(folder / "probabilities" / f"{name}_{label}.nii.gz", of_class, like=files[0])
    return sorted(path for path in out.iterdir() if is_image_file(path))


def find_scans(images: Path, channels: int) -> dict[str, list[Path]]:
    """The files of each scan in a folder, in the order of their channels.

    Raises:
        InputError: there are none, or a scan does not have the channels that it should.
    """
    if not images.is_dir():
        raise InputError(images, "is not a folder", "give the folder that holds CASE_0000 files")
    scans: dict[str, list[Path]] = {}
    for path in sorted(images.iterdir()):
        if is_image_file(path):
            scans.setdefault(case_name(path)[:-5], []).append(path)
    if not scans:
        raise InputError(images, "holds no images", "give the folder that holds CASE_0000 files")
    wanted = [f"_{channel:04d}" for channel in range(channels)]
    for name, files in scans.items():
        found = [case_name(file)[-5:] for file in files]
        if found != wanted and found != wanted[:1]:
            raise InputError(
                images / name, f"has the files {[file.name for file in files]}", f"the run wants {', '.join(wanted)}"
            )
    return scans


def _read_scan(files: Sequence[Path], task: Task) -> tuple[NDArray[np.float32], Grid]:
    arrays, grids = zip(*[read_image(file) for file in files], strict=True)
    for file, grid in zip(files[1:], grids[1:], strict=True):
        if not grid.matches(grids[0]):
            raise InputError(file, f"does not lie over {files[0].name}", "resample it to the same grid")
    image, grid = np.concatenate(arrays), grids[0]
    trained_on = len(task.preprocessing.spacing)
    if grid.dimensions != trained_on:
        problem = f"is {grid.dimensions}D, but the run was trained on {trained_on}D images"
        raise InputError(files[0], problem, "give images like those of the training")
    if len(image) != len(task.channel_names):
        problem = f"has {len(image)} channels, but the run wants {', '.join(task.channel_names)}"
        raise InputError(files[0], problem, "give images like those of the training")
    task.preprocessing.require_room(files[0], grid, len(image))
    if not np.isfinite(image).all():
        raise InputError(files[0], "holds voxels that are NaN or infinite", "replace them, for example by 0")
    return image, grid
