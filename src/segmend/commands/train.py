"""segmend train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from segmend.core import signals as stopping
from segmend.core.batch import Composition
from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.locks import is_first_process
from segmend.core.precision import Precision, best_device, resolved
from segmend.core.progress import say
from segmend.data.augment import Augmentation
from segmend.data.cache import cached_json, data_digest, default_cache, digest_of, prepare, true_labels
from segmend.data.fingerprint import Fingerprint, check_spacing, choose_preprocessing, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.data.sampling import BatchPlan
from segmend.data.state import DataState
from segmend.engine.arguments import built, check_numbers, check_patch_axes, dimensions_of, report_unlabelled
from segmend.engine.default_method import built_method
from segmend.engine.fit import Training, fit
from segmend.engine.hardware import Hardware, check_memory
from segmend.engine.initial_labels import with_initial_labels, write_initial_labels
from segmend.engine.launchers import launcher_of
from segmend.engine.learner import Optimisation
from segmend.engine.run import Run, Task, configuration_of
from segmend.methods import Method
from segmend.networks import Network, VNet
from segmend.networks.fitting import check_patch, choose_patch


def train(
    *,
    data: Path,
    method: Callable[[Network], Method] | None = None,
    out: Path,
    network: Callable[[int, int, int], Network] = VNet,
    iterations: int = 8000,
    first_iterations: int | None = None,
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    dimensions: Literal[2, 3] | None = None,
    expert: int | None = None,
    noisy: int | None = None,
    unlabelled: int | None = None,
    mixed: int | None = None,
    foreground: float = 0.33,
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
    """Train a network by a method on a data folder.

    The run folder holds the configuration, checkpoints, a log, curves and a summary; labels that the method
    rewrites lie in its folder 'labels', with labels.csv and labels.png. Called again with the same
    arguments, an interrupted run continues from its last checkpoint and gives the same result as an uninterrupted
    run; a folder that holds a run of other arguments, or on data that have changed since, is refused.

    Args:
        data: the data folder.
        method: the method by name; its own arguments follow as --method.ARGUMENT. By default Supervised if all labels
            are expert ones, and OffsetCorrection otherwise: docs/decisions/014-default-method.md explains why.
        out: the run folder to write.
        network: the network by name; its own arguments follow as --network.ARGUMENT.
        iterations: optimiser steps.
        first_iterations: optimiser steps of the plain training before, for methods that start from labels of
            unlabelled cases; a quarter of the iterations by default.
        patch: sides of the training crops in voxels, slices last; chosen from the data by default.
        spacing: millimetres between voxels to train at, slices last; 'native' keeps each scan's own,
            'auto' takes the median of the training scans.
        dimensions: 2 trains on slices of volumes; by default that of the images.
        expert: samples with expert labels in a batch. If none of the four counts is given, the method's own are taken
            (of the default method, those that there are labels for).
        noisy: samples with noisy labels in a batch.
        unlabelled: samples without labels in a batch.
        mixed: samples in a batch that are drawn uniformly from all labelled cases.
        foreground: fraction of labelled samples that are centred on a labelled object.
        augmentation: random changes of the samples; mirroring and quarter turns only if there is a single foreground
            class, or if asked for.
        optimisation: optimiser settings.
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
        segmend train --data DATA --out RUN --iterations 1000
    """
    stopping.promise("continue" if Run(out).last.is_file() else None)
    folder = DataFolder.open(data, cases)
    training_cases = folder.select(Split.TRAIN)
    if not training_cases:
        raise InputError(data, "has no training case", "mark some as 'train' in cases.csv")
    report_unlabelled(training_cases)
    validation_cases = [case for case in folder.select(Split.VAL) if case.training_label]
    scan_dimensions = dimensions_of([*training_cases, *validation_cases])
    network_dimensions = dimensions or scan_dimensions
    if network_dimensions > scan_dimensions:
        raise InputError("--dimensions 3", "the images are two-dimensional", "leave it out")
    slices = network_dimensions < scan_dimensions
    check_spacing(spacing, scan_dimensions, slices=slices)
    check_numbers(iterations, first_iterations, checkpoint_every, seed, foreground)
    augmentation = augmentation.for_classes(folder.classes)
    hardware = Hardware(precision, devices, nodes, workers, compile)
    launcher_of(hardware)

    torch.manual_seed(seed)
    make_network = partial(built, network, len(folder.channel_names), folder.classes, network_dimensions)
    built_network = make_network()
    trained = built_method(method, training_cases, built_network)
    method_name = type(trained).__name__
    run, learned_from = Run(out), training_cases
    if trained.needs_initial_labels:
        learned_from = with_initial_labels(training_cases, run, folder.file_ending)
    elif first_iterations:
        raise InputError("--first_iterations", f"{method_name} starts from the labels that there are", "leave it out")
    counts = (expert, noisy, unlabelled, mixed)
    composition = trained.needs if counts == (None,) * 4 else Composition(*(count or 0 for count in counts))
    plan = BatchPlan.of(learned_from, composition, seed, f"method {method_name}")
    if patch is not None:
        check_patch_axes(patch, network_dimensions)
        check_patch(built_network, len(folder.channel_names), patch)

    config = {
        "data": str(data.resolve()),
        "out": str(out.resolve()),
        **configuration_of(trained, built_network),
        "iterations": iterations,
        "first_iterations": first_iterations,
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
    state = DataState.of(folder, [*training_cases, *validation_cases])
    run.check_data(state)
    cache = cache or default_cache()
    if run.finished:
        _check_fingerprint(run, folder, [*learned_from, *validation_cases], cache)
        say(f"{out} is finished already; nothing to do")
        return run
    with run.kept():
        pass  # a place that cannot be written to is refused before the data are prepared

    fingerprint = _fingerprint(folder, cache)
    preprocessing = choose_preprocessing(fingerprint, folder.channel_names, spacing=spacing, slices=slices)
    if patch is None:
        shape = fingerprint.shape_at(preprocessing)[:network_dimensions]
        patch = choose_patch(built_network, len(folder.channel_names), shape)
    check_memory(built_network, len(folder.channel_names), patch, composition.size, hardware)
    _announce(trained, composition, preprocessing.spacing, patch, iterations, hardware)
    prepared = prepare(folder, training_cases, preprocessing, cache)
    validation = prepare(folder, validation_cases, preprocessing, cache)
    training = Training(
        cases=prepared,
        validation=validation,
        plan=plan,
        task=Task(
            channel_names=folder.channel_names,
            labels=folder.labels,
            dimensions=network_dimensions,
            patch=tuple(patch),
            preprocessing=preprocessing,
            fingerprint=data_digest([*prepared, *validation]),
        ),
        augmentation=augmentation,
        foreground=foreground,
        optimisation=optimisation,
        iterations=iterations,
        seed=seed,
        checkpoint_every=checkpoint_every,
        truth=true_labels(folder, training_cases, preprocessing, cache) if trained.layers else {},
    )
    with run.kept():
        if learned_from != training_cases:
            first = first_iterations or max(iterations // 4, 1)
            write_initial_labels(run, folder, make_network, training, first, hardware, config)
            prepared = prepare(folder, learned_from, preprocessing, cache)
            digest = data_digest([*prepared, *validation])
            training = replace(training, cases=prepared, task=replace(training.task, fingerprint=digest))
        run.begin(config, training.task, state)
        if not run.finished:  # by another process in the meantime
            fit(run, trained, training, hardware)
    _say_once(f"finished: {out}. Next: segmend predict --run {out} --images FOLDER --out PREDICTIONS")
    return run


def _say_once(text: str) -> None:
    """Print a line, by the first of the processes of one training."""
    if is_first_process():
        say(text)


def _announce(
    method: Method,
    composition: Composition,
    spacing: Sequence[float | None],
    patch: Sequence[int],
    iterations: int,
    hardware: Hardware,
) -> None:
    """Print what is trained, on what and where, before the work starts."""
    device = best_device()
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    grid = "the scans' own spacing" if None in spacing else f"{' x '.join(f'{side:.3g}' for side in spacing)} mm"
    millions = sum(parameter.numel() for parameter in method.network.parameters()) / 1e6
    _say_once(
        f"{type(method).__name__} with {type(method.network).__name__} ({millions:.3g} M parameters) on {place}, "
        f"precision {resolved(hardware.precision, device)}: {iterations} steps, batch {composition}, "
        f"crops {' x '.join(map(str, patch))} at {grid}"
    )


def _check_fingerprint(run: Run, folder: DataFolder, cases: Sequence[Case], cache: Path) -> None:
    """Makes sure that a finished run without data.json, of an earlier version, is one of these data."""
    if run.data_state is not None:
        return
    if data_digest(prepare(folder, cases, run.task.preprocessing, cache)) != run.task.fingerprint:
        remedy = "choose another --out, or restore the data folder"
        raise InputError(run.path, "was trained on other data", remedy)


def _fingerprint(folder: DataFolder, cache: Path) -> Fingerprint:
    """The fingerprint of the training cases; read once for the same files."""
    files = [file for case in folder.select(Split.TRAIN) for file in (*case.images, case.training_label)]
    key = digest_of("fingerprint", folder.labels, folder.ignore, folder.channel_names, *files)
    return Fingerprint.from_json(cached_json(cache, key, lambda: asdict(take_fingerprint(folder))))
