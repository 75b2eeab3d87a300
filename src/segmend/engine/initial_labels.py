"""First labels by plain training: of unlabelled cases, and of classes that are not annotated in a case.

For methods that start from such labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from segmend.core.case import Case, Quality
from segmend.core.config import described
from segmend.core.folders import atomic_folder
from segmend.core.io import wait_for
from segmend.core.precision import best_device
from segmend.core.progress import track
from segmend.core.regions import completed, possible_classes
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.data.image import write_label
from segmend.data.sampling import BatchPlan
from segmend.engine.fit import Training, fit
from segmend.engine.hardware import Hardware
from segmend.engine.run import Run
from segmend.engine.segmenter import Segmenter
from segmend.methods import Supervised, all_methods
from segmend.networks import Network


def with_initial_labels(
    cases: Sequence[Case], run: Run, ending: str, *, unlabelled: bool, partial: bool
) -> tuple[Case, ...]:
    """The cases once those without a whole label have one, which need not be there yet.

    Args:
        cases: training cases as they were given.
        run: the run that keeps the labels.
        ending: of the label files.
        unlabelled: whether cases without a label get one; they are noisy then.
        partial: whether labels of cases that are annotated in part are completed.
    """
    return tuple(
        replace(
            case,
            label=run.initial_labels / (case.name + ending),
            quality=Quality.NOISY if case.quality is Quality.NONE else case.quality,
            annotated=None,
        )
        if (unlabelled and case.quality is Quality.NONE)
        or (partial and case.quality is not Quality.NONE and case.annotated is not None)
        else case
        for case in cases
    )


def write_initial_labels(
    run: Run,
    folder: DataFolder,
    make_network: Callable[[], Network],
    training: Training,
    incomplete: Sequence[Case],
    iterations: int,
    hardware: Hardware,
    config: Mapping[str, Any],
) -> None:
    """Trains ``Supervised`` on the labelled cases and completes the others; what was done before is not done again.

    The training is a run of its own in ``RUN/initial``, the labels are files in ``RUN/initial_labels``.

    Args:
        run: the run that wants the labels; its folder is claimed.
        folder: the data.
        make_network: gives a fresh network.
        training: that of the run, with the cases as they were given.
        incomplete: those that need a label, or the rest of one.
        iterations: optimiser steps of the plain training.
        hardware: what to compute on.
        config: of the run.

    Raises:
        InputError: no case is labelled, or a file cannot be used.
    """
    cases = [case.case for case in training.cases]
    plan = BatchPlan.of(cases, Supervised.needs, training.seed, "first labels")
    run.claim(config)
    torch.manual_seed(training.seed)
    method = Supervised(make_network())
    own_config = {
        **config,
        "out": str(run.initial.path.resolve()),
        "method": described(method, all_methods()),
        "iterations": iterations,
        **dict.fromkeys(("expert", "noisy", "unlabelled", "any_labelled", "initial_iterations")),
    }
    # Labels that are there are of these data only if the run that made them is.
    run.initial.begin(own_config, training.task)
    if run.initial_labels.is_dir():
        return
    if not run.initial.finished:
        fit(run.initial, method, replace(training, plan=plan, iterations=iterations), hardware)
    _label(run.initial, folder, incomplete, run.initial_labels, hardware)
    wait_for(run.initial_labels)


@rank_zero_only
def _label(trained: Run, folder: DataFolder, cases: Sequence[Case], out: Path, hardware: Hardware) -> None:
    checkpoint = trained.best if trained.best.is_file() else trained.last
    method = trained.method(checkpoint).to(best_device())
    segmenter = Segmenter(method, trained.task, precision=hardware.precision)
    with atomic_folder(out) as place:
        for case in track(cases, "completing labels"):
            scan = load_case(case, folder)
            if scan.label is None or case.annotated is None:
                label = segmenter.classes(scan.image, scan.grid)
            else:
                possible = possible_classes(case.annotated, folder.objects, folder.classes)
                label = completed(scan.label, segmenter.probabilities(scan.image, scan.grid), possible)
            values = folder.to_values(label)
            write_label(place / (case.name + folder.file_ending), values, like=case.images[0])
