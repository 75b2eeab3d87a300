"""What a plan says of a training besides network and sampling: loss, optimiser, steps, held-out cases, time.

Most of these settings are the same for all data; a plan names them, so that it holds all of a training with the reason
for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from segmend.core.case import Case
from segmend.data.fingerprint import Fingerprint, choose_preprocessing
from segmend.engine.learner import Optimisation
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import Choice
from segmend.engine.recipes import settings_of
from segmend.engine.training_time import step_time
from segmend.methods import Method, Supervised
from segmend.networks import PlannedUNet

_BY_DEFAULT = TrainingOptions()

_SCHEDULES = {
    "poly": "the rate falls to 0 by (1 - progress)^0.9",
    "step": "the rate falls to a tenth after every third of the run",
    "constant": "the rate stays",
}

_LOSSES = {
    "ce_dice": "half cross-entropy, which every voxel counts in, half Dice, which small classes count in as much"
}


@dataclass(frozen=True)
class _Reasons:
    """Says whether a setting is given, of a recipe, or the default."""

    options: TrainingOptions
    stated: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stated", settings_of(self.options.recipe or "planned"))

    def of(self, name: str, default: str) -> str:
        """Reason of an option; ``default`` where it is not given."""
        return self._reason(getattr(self.options, name), self.stated.get(name), getattr(_BY_DEFAULT, name), default)

    def of_optimisation(self, names: Sequence[str], default: str) -> str:
        """Reason of settings of the optimiser."""
        usual, given = _BY_DEFAULT.optimisation, self.options.optimisation
        by_recipe = self.stated.get("optimisation")
        whole = Optimisation(**by_recipe) if by_recipe else None
        now, before = ([getattr(each, name) for name in names] for each in (given, usual))
        return self._reason(now, [getattr(whole, name) for name in names] if whole else None, before, default)

    def _reason(self, value: Any, of_recipe: Any, usual: Any, default: str) -> str:
        if of_recipe is not None and value == of_recipe:
            return f"recipe {self.options.recipe}"
        return default if value == usual else "as given"


def training_entries(
    options: TrainingOptions,
    method: Method,
    validation: Sequence[Case],
    fingerprint: Fingerprint,
    channel_names: Sequence[str],
    *,
    slices: bool,
) -> dict[str, Choice]:
    """Entries for loss, optimisation, steps, validation and intensities.

    Args:
        options: settings of the training.
        method: with its network.
        validation: held-out cases with a label.
        fingerprint: of the training scans.
        channel_names: of the data folder.
        slices: a 2D network sees slices of volumes.
    """
    reasons, optimisation = _Reasons(options), options.optimisation
    entries = {"loss": _loss(method)}
    if isinstance(method.network, PlannedUNet):
        entries["normalisation"] = Choice("instance norm", "each sample by itself, since batches are small")
    entries["intensities"] = _intensities(fingerprint, channel_names, slices)
    settings = {"name": optimisation.optimiser, "learning rate": optimisation.first_rate}
    if optimisation.optimiser == "sgd":
        settings |= {"momentum": optimisation.momentum, "nesterov": bool(optimisation.nesterov)}
    settings["weight decay"] = optimisation.weight_decay
    names = ("optimiser", "learning_rate", "momentum", "nesterov", "weight_decay")
    usual = "the default, with which networks learn in fewer steps than by SGD"
    entries["optimiser"] = Choice(settings, reasons.of_optimisation(names, usual))
    entries["schedule"] = Choice(optimisation.schedule, _SCHEDULES[optimisation.schedule])
    entries["clipping"] = (
        Choice("none", "of gradients; a loss that is not finite stops the training")
        if optimisation.clip is None
        else Choice(optimisation.clip, f"largest norm of the gradient, {reasons.of_optimisation(['clip'], '')}")
    )
    entries["steps"] = Choice(options.iterations, reasons.of("iterations", "the default, whatever the data"))
    entries["validation"] = _validation(validation)
    return entries


def time_entry(
    options: TrainingOptions, method: Method, in_channels: int, patch: Sequence[int], batch: int, networks: float
) -> Choice:
    """How long the training will take on this machine, which is measured for about a second.

    Args:
        options: settings of the training.
        method: with its network.
        in_channels: image channels.
        patch: sides of the crops in voxels.
        batch: samples of a step.
        networks: how many of its networks the method trains.
    """
    processes = options.hardware.processes
    found = step_time(method.network, in_channels, patch, -(-batch // processes), networks, options.precision)
    seconds = found.seconds * options.iterations
    return Choice(
        f"{seconds / 3600:.2g} hours" if seconds >= 3600 else f"{seconds / 60:.2g} minutes",
        f"an estimate within a factor of two: {options.iterations} steps of {found.seconds:.2g} s, as each is "
        f"{found.multiply_adds / 1e9:.3g} G multiply-adds and smaller crops were timed at {found.rate / 1e9:.3g} G a "
        "second; without loading and validation",
    )


def _loss(method: Method) -> Choice:
    if not isinstance(method, Supervised):
        return Choice(f"of {type(method).__name__}", f"'segmend methods --name {type(method).__name__}' explains it")
    value: str = method.loss_name
    reason = _LOSSES.get(value, "as given")
    if method.heads is not None:
        value, reason = f"{value}, deep supervision", f"{reason}; the same on coarser scales, each half as much"
    return Choice(value, reason)


def _intensities(fingerprint: Fingerprint, channel_names: Sequence[str], slices: bool) -> Choice:
    chosen = choose_preprocessing(fingerprint, channel_names, slices=slices)
    ways, reasons = {}, []
    for name, channel in zip(channel_names, chosen.normalisations, strict=True):
        if channel.low is None:
            ways[name] = "z-score"
        else:
            ways[name] = f"clipped to {channel.low:.4g} .. {channel.high:.4g}, then scaled"
    if any(channel.low is None for channel in chosen.normalisations):
        counted = "the voxels that are not 0" if chosen.foreground_only else "all voxels"
        reasons.append(f"mean and standard deviation of {counted} of each scan")
    if any(channel.low is not None for channel in chosen.normalisations):
        reasons.append("CT: percentiles 0.5 and 99.5 of the labelled voxels, since Hounsfield units mean tissues")
    return Choice(ways, "; ".join(reasons))


def _validation(cases: Sequence[Case]) -> Choice:
    if not cases:
        return Choice("none", "no case is 'val' in cases.csv: the last checkpoint is used")
    shown = ", ".join(case.name for case in cases[:3]) + (", ..." if len(cases) > 3 else "")
    return Choice(
        f"{len(cases)} case{'s' if len(cases) > 1 else ''}",
        f"'val' in cases.csv ({shown}): held out, to choose the checkpoint 'best' besides the last",
    )
