"""Checks all that a training needs before any work starts, and plans what is not given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.progress import say, warn
from segmend.data.cache import cached_fingerprint, default_cache
from segmend.data.fingerprint import Fingerprint, check_spacing
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.remarks import unlabelled
from segmend.data.sampling import BatchPlan
from segmend.data.soft_labels import with_soft_labels
from segmend.engine.building import build_method, build_network, chosen_method
from segmend.engine.hardware import machine_of
from segmend.engine.initial_labels import with_initial_labels
from segmend.engine.launchers import launcher_of
from segmend.engine.options import TrainingOptions, check_patch_axes
from segmend.engine.plan import TrainingPlan
from segmend.engine.plan_entries import time_entry, training_entries
from segmend.engine.planner import plan_training
from segmend.engine.run import Run
from segmend.engine.setup import TrainingSetup
from segmend.engine.warm_start import WarmStart, starting_from
from segmend.methods import Method
from segmend.networks import Network, PlannedUNet
from segmend.networks.fitting import check_patch

_FEW_LABELS = 2
"""Labels that must hold a class for it to be learned, and not only memorised."""

_FEW_VOXELS = 100
"""Voxels in all labels together below which a class is hardly sampled: a ball of them has a diameter of six."""

_STAND_IN = partial(PlannedUNet, widths=[2] * 5)
"""A small network in the place of one that is not known yet."""


def prepare_training(
    folder: DataFolder,
    options: TrainingOptions,
    *,
    method: Callable[[Network], Method] | None = None,
    network: Callable[[int, int, int], Network] | None = None,
    run: Run,
    plan: TrainingPlan | None = None,
    quiet: bool = False,
    cache: Path | None = None,
) -> TrainingSetup:
    """Check all that a training needs, and plan what is not given. Nothing is written but into the cache.

    Arguments and headers are checked first. Only a plan reads the scans.

    Args:
        folder: the data.
        options: settings of the training.
        method: gives the method for a network; None takes the recommended one.
        network: gives the network for a number of channels, classes and dimensions; None plans one.
        run: where the training will be. Its plan is followed if it has one.
        plan: what to follow otherwise, such as the plan that all folds of a cross-validation have in common.
        quiet: leave out remarks on the data.
        cache: where prepared scans are kept; the user's cache folder by default.

    Returns:
        The training; ``TrainingSetup.prepare`` then reads its scans.

    Raises:
        InputError: something given cannot be used.
    """
    folder = labelled_as(folder, options)
    training_cases = folder.select(Split.TRAIN)
    if not training_cases:
        raise InputError(folder.root, "has no training case", "mark some as 'train' in cases.csv", code="no-data")
    if not quiet:
        report_unlabelled(training_cases)
    validation_cases = [case for case in folder.select(Split.VAL) if case.training_label]
    of_scans = dimensions_of([*training_cases, *validation_cases])
    start = WarmStart.of(options.weights, run) if options.weights else None
    if start and network is None:
        options = start.followed(options, of_scans)
    dimensions = options.dimensions or of_scans
    slices = dimensions < of_scans
    _check_options(options, of_scans, planned=network is None)

    method, channels = chosen_method(method, training_cases), len(folder.channel_names)
    fingerprint = None
    if network is None:
        stand_in = start.network if start and start.network else _STAND_IN
        trial = _with_stand_in(method, channels, folder.classes, dimensions, stand_in)
        _, batches = _batches(trial, training_cases, folder, options, run)
        plan = run.plan or plan
        if plan is None:
            fingerprint = cached_fingerprint(folder, cache or default_cache())
            _warn_of_rare_objects(fingerprint, list(folder.objects))
            plan = (
                start.plan(fingerprint, list(folder.objects), batches.size)
                if start and start.network
                else _planned(fingerprint, folder, options, slices, batches.size, trained_networks(trial))
            )
        network = start.network if start and start.network else partial(PlannedUNet, **plan.network)
        options = options.planned(plan)
    else:
        plan = None
    options = options.for_classes(folder.classes)
    make_network = partial(build_network, network, channels, folder.classes, dimensions)
    torch.manual_seed(options.seed)
    untrained = make_network()
    if start:
        one_class_more = partial(network, channels, folder.classes + 1, dimensions)
        weights = start.weights_for(untrained, one_class_more, list(folder.labels))
        untrained.load_state_dict(weights, strict=False)
        make_network = partial(starting_from, make_network, weights)
    built = build_method(method, untrained, training_cases)
    learned_from, batches = _batches(built, training_cases, folder, options, run)
    if options.patch is not None:
        check_patch(built.network, channels, options.patch)
    if plan and fingerprint:
        plan = _completed(plan, options, built, validation_cases, fingerprint, folder, batches.size, slices=slices)
    return TrainingSetup(
        folder=folder,
        options=options,
        method=built,
        make_network=make_network,
        run=run,
        labelled_cases=training_cases,
        training_cases=learned_from,
        validation_cases=validation_cases,
        batches=batches,
        dimensions=dimensions,
        slices=slices,
        plan=plan,
        start=start,
    )


def _check_options(options: TrainingOptions, of_scans: int, *, planned: bool) -> None:
    """Make sure that options suit the dimensions of the scans, and each other."""
    dimensions = options.dimensions or of_scans
    if dimensions > of_scans:
        raise InputError(
            "dimensions", "must be 2, since the images are two-dimensional, got 3", "leave it out", code="mismatch"
        )
    if options.residual is not None and not planned:
        raise InputError(
            "residual",
            "is of the planned network, but another network is named",
            "leave one of them out",
            code="mismatch",
        )
    check_spacing(options.spacing, of_scans, slices=dimensions < of_scans)
    if options.patch is not None:
        check_patch_axes(options.patch, dimensions)
    launcher_of(options.hardware)


def _completed(
    plan: TrainingPlan,
    options: TrainingOptions,
    method: Method,
    validation: Sequence[Case],
    fingerprint: Fingerprint,
    folder: DataFolder,
    batch: int,
    *,
    slices: bool,
) -> TrainingPlan:
    """A new plan with all that is known once there is a method; the time only if the plan is for this machine."""
    channels = folder.channel_names
    plan = plan.extended(training_entries(options, method, validation, fingerprint, channels, slices=slices))
    if options.memory is not None:
        return plan
    time = time_entry(options, method, len(channels), plan.patch, batch, trained_networks(method))
    return plan.extended({"time": time})


def _batches(
    method: Method, cases: Sequence[Case], folder: DataFolder, options: TrainingOptions, run: Run
) -> tuple[Sequence[Case], BatchPlan]:
    """The cases as the method learns from them, and the batches that they make up."""
    name = type(method).__name__
    if options.labels == "soft" and not method.takes_soft_labels():
        remedy = "leave `labels` out, or take `method Supervised` with its default loss"
        raise InputError("labels", f"is soft, but {name} learns from class labels only", remedy, code="mismatch")
    given, partial = cases, not method.takes_class_sets()
    cases = with_initial_labels(cases, run, folder.file_ending, unlabelled=method.needs_initial_labels, partial=partial)
    if options.initial_iterations and not method.needs_initial_labels and cases == given:
        raise InputError(
            "initial_iterations", f"{name} starts from the labels that there are", "leave it out", code="invalid-value"
        )
    return cases, BatchPlan.of(cases, options.composition(method.needs), options.seed, f"method {name}")


def _planned(
    fingerprint: Fingerprint,
    folder: DataFolder,
    options: TrainingOptions,
    slices: bool,
    batch: int,
    networks: float,
) -> TrainingPlan:
    """Plan what the options leave open, for this machine."""
    return plan_training(
        fingerprint,
        channels=len(folder.channel_names),
        classes=folder.classes,
        objects=list(folder.objects),
        slices=slices,
        batch=batch,
        networks=networks,
        machine=machine_of(options.hardware, options.memory, options.width),
        spacing=_wanted_spacing(options, len(fingerprint.spacing)),
        patch=options.patch,
        augmentation=options.given_augmentation,
        foreground_by=options.foreground_by,
        residual=options.residual,
    )


def _warn_of_rare_objects(fingerprint: Fingerprint, names: Sequence[str]) -> None:
    """Warn of classes or regions that too few labels, or too few voxels of them, hold to be sampled and learned."""
    for name, count, voxels in zip(names, fingerprint.annotated, fingerprint.voxels, strict=True):
        if count < _FEW_LABELS:
            warn(f"'{name}' occurs in {count} of {fingerprint.cases} training cases: too few to learn it from")
        elif voxels < _FEW_VOXELS:
            warn(
                f"'{name}' has {voxels} voxels in the {count} training labels that hold it: too few to sample and "
                "learn it from; check these labels, or merge the class with another"
            )


def _with_stand_in(
    method: Callable[[Network], Method],
    channels: int,
    classes: int,
    dimensions: int,
    network: Callable[[int, int, int], Network] = _STAND_IN,
) -> Method:
    """The method around a network, to learn what it needs before there is a plan. Draws no random number."""
    with torch.random.fork_rng(devices=[]):
        return build_method(method, build_network(network, channels, classes, dimensions))


def trained_networks(method: Method) -> float:
    """How many networks of the size of its own a method trains."""
    trained = sum(each.numel() for each in method.parameters() if each.requires_grad)
    return trained / sum(each.numel() for each in method.network.parameters())


def _wanted_spacing(options: TrainingOptions, dimensions: int) -> Sequence[float | None] | None:
    """The spacing as a plan takes it: None chooses it, and None along an axis keeps the scans' own."""
    if isinstance(options.spacing, str):
        return None if options.spacing == "auto" else [None] * dimensions
    return [*options.spacing, *[None] * (dimensions - len(options.spacing))]


def labelled_as(folder: DataFolder, options: TrainingOptions) -> DataFolder:
    """The data folder with soft labels, if they are asked for.

    Raises:
        InputError: a map is missing, or does not lie over its scan.
    """
    return with_soft_labels(folder) if options.labels == "soft" else folder


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
