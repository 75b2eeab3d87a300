"""segmend export-labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case, Split
from segmend.core.errors import InputError, did_you_mean
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.progress import track
from segmend.data.cache import PreparedCase, data_digest, default_cache, prepare
from segmend.data.check import load_case
from segmend.data.compressed import VoxelArray
from segmend.data.folder import DataFolder
from segmend.data.image import write_label
from segmend.data.state import DataState
from segmend.engine.initial_labels import with_initial_labels
from segmend.engine.label_store import LabelStore
from segmend.engine.run import Run
from segmend.functional.resampling import resample_label


def export_labels(
    *, run: Path, out: Path, revision: int | None = None, layer: str | None = None, cache: Path | None = None
) -> list[Path]:
    """Write the labels refined by a run, as files on the grids of the scans.

    Every label has the grid and header of its scan and the values of the data folder. Where a run changed
    nothing, and outside the part of the scan that it used, the file is equal to the given one.

    Args:
        run: a run folder, of a method that rewrites labels.
        out: the folder to write labels CASE.ENDING to; it must not hold anything yet.
        revision: number of the revision; 0 are the labels as they were given, the default is the newest.
        layer: which of the labels that the method rewrites; by default the first.
        cache: where prepared scans are kept; $SEGMEND_CACHE or the user's cache folder by default.

    Returns:
        The label files written, one for each training case that has a label.

    Raises:
        InputError: the run rewrites no labels, there is no such revision or layer, or the data have changed.

    Example:
        segmend export-labels --run RUN --out REFINED
    """
    source = Run(run)
    cls = source.method_class
    layers = cls.layers
    if not layers:
        raise InputError(
            run, f"holds no labels, as {cls.__name__} rewrites none", "give a run of a method that does", code="no-data"
        )
    layer = layer or layers[0]
    if layer not in layers:
        raise InputError("layer", f"there is no '{layer}'", did_you_mean(layer, layers), code="unknown-name")
    require_empty(out)
    folder, prepared = _data(source, cls.needs_initial_labels, cache or default_cache())
    store = LabelStore(source.labels, cls.layers, {case.case.name: case.given for case in prepared})
    revision = store.count if revision is None else revision
    if not 0 <= revision <= store.count:
        raise InputError(
            "revision", f"there is no {revision}", f"give 0 (as given) to {store.count}", code="unknown-name"
        )
    with atomic_folder(out) as place:
        for case in track(prepared, "writing labels"):
            name = case.case.name
            if case.label is not None or store.holder(name, layer, revision):
                values = folder.to_values(_on_grid(source, folder, case, store.label(name, layer, revision)))
                write_label(place / (name + folder.file_ending), values, like=case.case.images[0])
    return sorted(out.iterdir())


def _data(run: Run, needs_initial_labels: bool, cache: Path) -> tuple[DataFolder, list[PreparedCase]]:
    """The data folder of a run, and its training cases as it saw them."""
    data = Path(str(run.config.get("data")))
    table = run.config.get("cases")
    if not data.is_dir():
        raise InputError(
            data,
            "is where the run found its data, but there is no such folder",
            "move it back there",
            code="missing-file",
        )
    folder = DataFolder.open(data, Path(table) if table else None)
    cases: Sequence[Case] = folder.select(Split.TRAIN)
    validation = [case for case in folder.select(Split.VAL) if case.training_label]
    if run.data_state:
        changes = DataState.of(folder, [*cases, *validation]).changes_since(run.data_state)
        if changes:
            raise InputError(
                data, "has changed since the run was begun", f"restore it ({changes})", code="changed-data"
            )
    cases = with_initial_labels(cases, run, folder.file_ending, unlabelled=needs_initial_labels, partial=True)
    prepared = prepare(folder, cases, run.task.preprocessing, cache)
    if data_digest([*prepared, *prepare(folder, validation, run.task.preprocessing, cache)]) != run.task.fingerprint:
        raise InputError(data, "has changed since the run was begun", "restore it", code="changed-data")
    return folder, prepared


def _on_grid(run: Run, folder: DataFolder, case: PreparedCase, label: VoxelArray) -> NDArray[np.uint8]:
    """A label of the training grid on that of the scan, the given one where nothing has changed."""
    scan = load_case(case.case, folder)
    placement = run.task.preprocessing.place(scan.image, scan.grid)
    new = resample_label(np.asarray(label), placement.box_shape)
    whole = placement.restore(new)
    if scan.label is None:
        return whole
    before = resample_label(np.asarray(case.given), placement.box_shape)
    return np.where(placement.restore(new != before), whole, scan.label)
