"""First labels of unlabelled cases, by plain training on the labelled ones, for methods that start from such labels."""

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


def with_initial_labels(cases: Sequence[Case], run: Run, ending: str) -> tuple[Case, ...]:
    """The cases once the unlabelled ones have their first labels, which need not be there yet: they are noisy then."""
    labels = {case.name: run.initial_labels / (case.name + ending) for case in cases if case.quality is Quality.NONE}
    return tuple(
        replace(case, label=labels[case.name], quality=Quality.NOISY) if case.name in labels else case for case in cases
    )


def write_initial_labels(
    run: Run,
    folder: DataFolder,
    make_network: Callable[[], Network],
    training: Training,
    iterations: int,
    hardware: Hardware,
    config: Mapping[str, Any],
) -> None:
    """Trains ``Supervised`` on the labelled cases and labels the others; what was done before is not done again.

    The training is a run of its own in ``RUN/initial``, the labels are files in ``RUN/initial_labels``.

    Args:
        run: the run that wants the labels; its folder is claimed.
        folder: the data.
        make_network: gives a fresh network.
        training: that of the run, with the cases as they were given.
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
    unlabelled = [case for case in cases if case.quality is Quality.NONE]
    _label(run.initial, folder, unlabelled, run.initial_labels, hardware)
    wait_for(run.initial_labels)


@rank_zero_only
def _label(trained: Run, folder: DataFolder, cases: Sequence[Case], out: Path, hardware: Hardware) -> None:
    checkpoint = trained.best if trained.best.is_file() else trained.last
    method = trained.method(checkpoint).to(best_device())
    segmenter = Segmenter(method, trained.task, precision=hardware.precision)
    with atomic_folder(out) as place:
        for case in track(cases, "labelling unlabelled cases"):
            scan = load_case(case, folder)
            values = folder.to_values(segmenter.classes(scan.image, scan.grid))
            write_label(place / (case.name + folder.file_ending), values, like=case.images[0])
