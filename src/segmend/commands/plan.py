"""segmend plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from segmend.core.options import spread
from segmend.core.progress import say
from segmend.core.tables import write_json
from segmend.data.cache import cached_fingerprint, default_cache
from segmend.data.fingerprint import Fingerprint, choose_preprocessing
from segmend.data.folder import DataFolder
from segmend.engine.architecture import step_bytes
from segmend.engine.hardware import machine_of
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import Choice, TrainingPlan
from segmend.engine.plan_entries import time_entry, training_entries
from segmend.engine.preparation import prepare_training, trained_networks
from segmend.engine.recipes import network_by
from segmend.engine.run import Run
from segmend.engine.setup import TrainingSetup
from segmend.methods import Method
from segmend.networks import Network
from segmend.networks.fitting import choose_patch


@spread("options")
def plan(
    *,
    data: Path,
    method: Callable[[Network], Method] | None = None,
    out: Path | None = None,
    options: TrainingOptions = TrainingOptions(),
    cases: Path | None = None,
    cache: Path | None = None,
) -> TrainingPlan:
    """Show what 'segmend train' would choose for a data folder, and why.

    The same data, settings and machine give the same plan, but for the time that a training is estimated to take: for
    that, convolutions are timed for a second, unless the plan is for another machine ('--memory').

    Args:
        data: the data folder.
        method: the method by name, which decides on the batch; as in 'segmend train'.
        out: a JSON file to write the plan to.
        options: settings of the training, each an argument of its own; what is given is not planned.
        cases: a table to use instead of cases.csv.
        cache: where prepared scans are kept.

    Returns:
        The plan.

    Raises:
        InputError: something given cannot be used, or no patch fits into the memory.

    Example:
        segmend plan --data DATA
    """
    folder = DataFolder.open(data, cases)
    # The run is only a name here, of labels that may be written later.
    network = network_by(options.recipe, None)
    setup = prepare_training(folder, options, method=method, network=network, run=Run(Path("RUN")), cache=cache)
    found = setup.plan or _of_recipe(setup, cached_fingerprint(folder, cache or default_cache()))
    for line in found.lines():
        say(line)
    if out:
        write_json(out, found.to_json())
    return found


def _of_recipe(setup: TrainingSetup, fingerprint: Fingerprint) -> TrainingPlan:
    """All settings of a training whose network the recipe names, in the form of a plan."""
    options, method, folder = setup.options, setup.method, setup.folder
    reason, channels, batch = f"recipe {options.recipe}", len(folder.channel_names), setup.batches.size
    preprocessing = choose_preprocessing(
        fingerprint, folder.channel_names, spacing=options.spacing, slices=setup.slices
    )
    patch, why = options.patch, "as given"
    if patch is None:
        shape = fingerprint.shape_at(preprocessing)[: setup.dimensions]
        patch, why = choose_patch(method.network, channels, shape), "as much of the median scan as a usual GPU holds"
    networks = trained_networks(method)
    machine = machine_of(options.hardware, options.memory)
    needed = networks * step_bytes(method.network, channels, patch, batch, machine.bytes_per_value)
    foreground = f"{options.foreground:g} of the labelled crops are centred on foreground"
    augmentation = {name: value for name, value in asdict(options.augmentation).items() if value is not None}
    entries = {
        "machine": Choice(machine.name, f"{machine.memory / 2**30:.3g} GiB for a step"),
        "spacing": Choice(
            list(preprocessing.spacing), "as given" if options.spacing != "auto" else "median of the scans"
        ),
        "patch": Choice(list(patch), why),
        "network": Choice({"name": type(method.network).__name__}, reason),
        "batch": Choice(batch, "as the method composes it"),
        "augmentation": Choice(augmentation, reason),
        "foreground": Choice(options.foreground_by or "voxel", foreground),
        "memory": Choice(f"{needed / 2**30:.2g} GiB", "for a training step, estimated"),
        **training_entries(
            options, method, setup.validation_cases, fingerprint, folder.channel_names, slices=setup.slices
        ),
    }
    if options.memory is None:
        entries["time"] = time_entry(options, method, channels, patch, batch, networks)
    return TrainingPlan(entries)
