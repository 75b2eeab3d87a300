"""Checks all that a training needs before any scan is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.progress import say
from segmend.data.fingerprint import check_spacing
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.remarks import unlabelled
from segmend.data.sampling import BatchPlan
from segmend.engine.building import build_method, build_network
from segmend.engine.initial_labels import with_initial_labels
from segmend.engine.launchers import launcher_of
from segmend.engine.options import TrainingOptions, check_patch_axes
from segmend.engine.run import Run
from segmend.engine.setup import TrainingSetup
from segmend.methods import Method
from segmend.networks import Network
from segmend.networks.fitting import check_patch


def prepare_training(
    folder: DataFolder,
    options: TrainingOptions,
    *,
    method: Callable[[Network], Method] | None,
    network: Callable[[int, int, int], Network],
    run: Run,
) -> TrainingSetup:
    """Check all that a training needs, by arguments and headers; no scan is read and nothing is written.

    Args:
        folder: the data.
        options: settings of the training.
        method: gives the method for a network; None takes the recommended one.
        network: gives the network for a number of channels, classes and dimensions.
        run: where the training will be; names the labels that unlabelled cases get first, if the method wants them.

    Returns:
        The training, of which ``TrainingSetup.prepare`` then reads the scans.

    Raises:
        InputError: something given cannot be used.
    """
    training_cases = folder.select(Split.TRAIN)
    if not training_cases:
        raise InputError(folder.root, "has no training case", "mark some as 'train' in cases.csv", code="no-data")
    report_unlabelled(training_cases)
    validation_cases = [case for case in folder.select(Split.VAL) if case.training_label]
    of_scans = dimensions_of([*training_cases, *validation_cases])
    dimensions = options.dimensions or of_scans
    if dimensions > of_scans:
        raise InputError(
            "dimensions", "must be 2, since the images are two-dimensional, got 3", "leave it out", code="mismatch"
        )
    check_spacing(options.spacing, of_scans, slices=dimensions < of_scans)
    options = options.for_classes(folder.classes)
    launcher_of(options.hardware)

    torch.manual_seed(options.seed)
    channels = len(folder.channel_names)
    built_network = build_network(network, channels, folder.classes, dimensions)
    built = build_method(method, training_cases, built_network)
    name, learned_from = type(built).__name__, training_cases
    if built.needs_initial_labels:
        learned_from = with_initial_labels(training_cases, run, folder.file_ending)
    elif options.first_iterations:
        raise InputError(
            "first_iterations", f"{name} starts from the labels that there are", "leave it out", code="invalid-value"
        )
    batches = BatchPlan.of(learned_from, options.composition(built.needs), options.seed, f"method {name}")
    if options.patch is not None:
        check_patch_axes(options.patch, dimensions)
        check_patch(built_network, channels, options.patch)
    return TrainingSetup(
        folder=folder,
        options=options,
        method=built,
        make_network=lambda: build_network(network, channels, folder.classes, dimensions),
        run=run,
        labelled_cases=training_cases,
        training_cases=learned_from,
        validation_cases=validation_cases,
        batches=batches,
        dimensions=dimensions,
        slices=dimensions < of_scans,
    )


def report_unlabelled(cases: Sequence[Case]) -> None:
    """Say how many training cases have no label file, if any."""
    if missing := unlabelled(cases):
        say(missing)


def dimensions_of(cases: Sequence[Case]) -> int:
    """Return the number of dimensions common to all scans, by their headers.

    Raises:
        InputError: some have two, some three.
    """
    examples = {read_grid(file).dimensions: file for case in cases for file in case.images}
    if len(examples) > 1:
        problem = f"is two-dimensional, but {examples[3].name} is three-dimensional"
        raise InputError(examples[2], problem, "keep 2D and 3D cases in folders of their own", code="mismatch")
    return next(iter(examples))
