"""segmend plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from segmend.core.options import spread
from segmend.core.precision import autocast, best_device
from segmend.core.progress import say
from segmend.core.tables import write_json
from segmend.data.folder import DataFolder
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import Choice, TrainingPlan
from segmend.engine.preparation import prepare_training
from segmend.engine.run import Run
from segmend.engine.setup import TrainingSetup
from segmend.methods import Method
from segmend.networks import Network

_TIMED_STEPS = 2


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

    The same data, settings and machine give the same plan. A few steps of the network are timed, unless the plan is
    for another machine ('--memory').

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
    setup = prepare_training(folder, options, method=method, run=Run(Path("RUN")), cache=cache)
    assert setup.plan
    found = setup.plan
    if options.memory is None:
        seconds = _seconds_per_step(setup)
        hours = seconds * options.iterations / 3600
        time_needed = Choice(
            f"{hours:.2g} hours" if hours >= 1 else f"{60 * hours:.2g} minutes", _reason(seconds, options)
        )
        found = TrainingPlan({**found.entries, "time": time_needed})
    for line in found.lines():
        say(line)
    if out:
        write_json(out, found.to_json())
    return found


def _reason(seconds: float, options: TrainingOptions) -> str:
    return f"{options.iterations} steps of {seconds:.2g} s, timed on this machine without loading of data"


def _seconds_per_step(setup: TrainingSetup) -> float:
    """Time a pass and its gradient, for as many networks as the method trains."""
    device, patch = best_device(), setup.options.patch
    assert patch
    network = setup.method.network.to(device).train()
    image = torch.randn(setup.batches.size, len(setup.folder.channel_names), *patch, device=device)
    trained = sum(each.numel() for each in setup.method.parameters() if each.requires_grad)
    copies = trained / sum(each.numel() for each in network.parameters())
    started = 0.0
    for step in range(_TIMED_STEPS + 1):
        if step == 1:  # the first one allocates and chooses kernels
            started = _now(device)
        with autocast(setup.options.precision, device):
            logits = network(image)
        logits.float().square().mean().backward()
    return copies * (_now(device) - started) / _TIMED_STEPS


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
