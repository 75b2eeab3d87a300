"""segmend train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch

from segmend.data.augment import Augmentation
from segmend.data.cache import default_cache, digest_of, prepare, remember
from segmend.data.case import Case, Split
from segmend.data.fingerprint import Fingerprint, check_spacing, choose_preprocessing, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.sampling import BatchPlan, Composition
from segmend.errors import InputError
from segmend.learner import Optimisation
from segmend.methods import Method
from segmend.networks import Network, VNet
from segmend.networks.fitting import check_patch, choose_patch
from segmend.precision import Precision
from segmend.run import Run, Task, configuration_of
from segmend.training import Hardware, Training, check_memory, fit


def train(
    *,
    data: Path,
    method: Callable[[Network], Method],
    out: Path,
    network: Callable[[int, int, int], Network] = VNet,
    iterations: int = 8000,
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    dimensions: Literal[2, 3] | None = None,
    expert: int | None = None,
    noisy: int | None = None,
    unlabelled: int | None = None,
    mixed: int | None = None,
    foreground: float = 0.0,
    augmentation: Augmentation = Augmentation(),
    optimisation: Optimisation = Optimisation(),
    seed: int = 0,
    precision: Precision = "auto",
    devices: int | Literal["auto"] = "auto",
    nodes: int = 1,
    workers: int | None = None,
    compile: bool = False,
    checkpoint_every: int = 250,
    cases: Path | None = None,
    cache: Path | None = None,
) -> Run:
    """Trains a network by a method on a data folder.

    The run folder holds the configuration, checkpoints, a log, curves and a summary. Called again with
    the same arguments, a run that was interrupted continues from its last checkpoint, and ends as if
    nothing had happened; a folder that holds a run of other arguments is refused.

    Args:
        data: the data folder.
        method: the method by name; its own arguments follow as --method.ARGUMENT.
        out: the run folder to write.
        network: the network by name; its own arguments follow as --network.ARGUMENT.
        iterations: optimiser steps.
        patch: sides of the training crops in voxels, slices last; chosen from the data by default.
        spacing: millimetres between voxels to train at, slices last; 'native' keeps each scan's own,
            'auto' takes the median of the training scans.
        dimensions: 2 trains on slices of volumes; by default that of the images.
        expert: samples with expert labels in a batch. If none of the four counts is given, the method's own are taken.
        noisy: samples with noisy labels in a batch.
        unlabelled: samples without labels in a batch.
        mixed: samples in a batch that are drawn alike from all labelled cases.
        foreground: share of labelled samples that are centred on a labelled object.
        augmentation: random changes of the samples.
        optimisation: how the weights are moved.
        seed: decides every random choice.
        precision: bf16 where the hardware has it (auto), or one of the two.
        devices: how many GPUs (or processes on a CPU) to use.
        nodes: how many machines to use.
        workers: processes that load data; none on a CPU and 4 for a GPU by default.
        compile: compile the network first; pays off on long runs.
        checkpoint_every: steps between checkpoints (and validations, if there is a validation split).
        cases: a table to use instead of cases.csv, for data folders that cannot be written to.
        cache: where prepared scans are kept; $SEGMEND_CACHE or the user's cache folder by default.

    Returns:
        The finished run.

    Raises:
        InputError: something given cannot be used; found before any work starts wherever possible.

    Example:
        segmend train --data DATA --method PLIL --out RUN --iterations 1000
    """
    folder = DataFolder.open(data, cases)
    training_cases = folder.select(Split.TRAIN)
    if not training_cases:
        raise InputError(data, "has no training case", "mark some as 'train' in cases.csv")
    validation_cases = [case for case in folder.select(Split.VAL) if case.shown_label]
    scan_dimensions = _dimensions([*training_cases, *validation_cases])
    network_dimensions = dimensions or scan_dimensions
    if network_dimensions > scan_dimensions:
        raise InputError("--dimensions 3", "the images are two-dimensional", "leave it out")
    slices = network_dimensions < scan_dimensions
    check_spacing(spacing, scan_dimensions, slices=slices)
    _check_numbers(iterations, checkpoint_every, seed, foreground)
    hardware = Hardware(precision, devices, nodes, workers, compile)

    torch.manual_seed(seed)
    built_network = _built(network, len(folder.channel_names), folder.classes, network_dimensions)
    built = method(built_network)
    counts = (expert, noisy, unlabelled, mixed)
    composition = built.needs if counts == (None,) * 4 else Composition(*(count or 0 for count in counts))
    plan = BatchPlan.of(training_cases, composition, seed, f"method {type(built).__name__}")
    if patch is not None:
        _check_patch_axes(patch, network_dimensions)
        check_patch(built_network, len(folder.channel_names), patch)

    run = Run(out)
    config = {
        "data": str(data.resolve()),
        "out": str(out.resolve()),
        **configuration_of(built, built_network),
        "iterations": iterations,
        "patch": list(patch) if patch is not None else None,
        "spacing": spacing if isinstance(spacing, str) else list(spacing),
        "dimensions": dimensions,
        **dict(zip(("expert", "noisy", "unlabelled", "mixed"), counts, strict=True)),
        "foreground": foreground,
        "augmentation": asdict(augmentation),
        "optimisation": asdict(optimisation),
        "seed": seed,
        "precision": precision,
        "devices": devices,
        "nodes": nodes,
        "compile": compile,
        "cases": str(cases.resolve()) if cases else None,
    }
    run.check_free_for(config)
    if run.finished:
        return run

    cache = cache or default_cache()
    fingerprint = _fingerprint(folder, cache)
    preprocessing = choose_preprocessing(fingerprint, folder.channel_names, spacing=spacing, slices=slices)
    if patch is None:
        shape = fingerprint.shape_at(preprocessing)[:network_dimensions]
        patch = choose_patch(built_network, len(folder.channel_names), shape)
    check_memory(built_network, len(folder.channel_names), patch, composition.size, hardware)
    prepared = prepare(folder, training_cases, preprocessing, cache)
    validation = prepare(folder, validation_cases, preprocessing, cache)
    task = Task(
        channel_names=folder.channel_names,
        labels=folder.labels,
        dimensions=network_dimensions,
        patch=tuple(patch),
        preprocessing=preprocessing,
        fingerprint=digest_of([(case.case.name, case.case.quality, case.digest) for case in [*prepared, *validation]]),
    )
    run.begin(config, task)
    fit(
        run,
        built,
        Training(
            cases=prepared,
            validation=validation,
            plan=plan,
            task=task,
            augmentation=augmentation,
            foreground=foreground,
            optimisation=optimisation,
            iterations=iterations,
            seed=seed,
            checkpoint_every=checkpoint_every,
        ),
        hardware,
    )
    return run


def _fingerprint(folder: DataFolder, cache: Path) -> Fingerprint:
    """The fingerprint of the training cases; read once for the same files."""
    files = [file for case in folder.select(Split.TRAIN) for file in (*case.images, case.shown_label)]
    key = digest_of("fingerprint", folder.labels, folder.ignore, folder.channel_names, *files)
    return Fingerprint.from_json(remember(cache, key, lambda: asdict(take_fingerprint(folder))))


def _built(network: Callable[[int, int, int], Network], channels: int, classes: int, dimensions: int) -> Network:
    try:
        return network(channels, classes, dimensions)
    except (TypeError, ValueError, NotImplementedError) as error:  # MONAI's way to refuse an argument
        problem = f"cannot be built ({' '.join(str(error).split())})"
        raise InputError("--network", problem, "correct its arguments; --network.help NAME explains them") from error


def _dimensions(cases: Sequence[Case]) -> int:
    """Those of all scans alike, by their headers."""
    examples = {read_grid(file).dimensions: file for case in cases for file in case.images}
    if len(examples) > 1:
        problem = f"is two-dimensional, but {examples[3].name} is three-dimensional"
        raise InputError(examples[2], problem, "keep 2D and 3D cases in folders of their own")
    return next(iter(examples))


def _check_numbers(iterations: int, checkpoint_every: int, seed: int, foreground: float) -> None:
    for name, value, least in (
        ("iterations", iterations, 1),
        ("checkpoint_every", checkpoint_every, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise InputError(f"--{name}", f"is {value}", f"give {least} or more")
    if not 0 <= foreground <= 1:
        raise InputError("--foreground", f"is {foreground}", "give a share from 0 to 1")


def _check_patch_axes(patch: Sequence[int], dimensions: int) -> None:
    if len(patch) != dimensions or min(patch) < 1:
        shown = " ".join(map(str, patch))
        raise InputError(f"--patch {shown}", f"is not {dimensions} positive sides", f"give {dimensions} numbers")
