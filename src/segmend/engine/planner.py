"""The plan of a training: what is chosen from the data and the machine, with the reason for each choice.

The rules follow the description of nnU-Net's planner (Isensee et al., Nature Methods 2021, online methods): the network
sees as much of a scan as fits into memory, in the shape of the median scan; axes are halved while they are long enough
and not much coarser than the others. What differs is stated where it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from segmend.core.errors import InputError
from segmend.data.augment import PLANNED, Augmentation
from segmend.data.fingerprint import Fingerprint
from segmend.engine.batches import ForegroundBy
from segmend.networks import Network, PlannedUNet
from segmend.networks.fitting import training_bytes

_ANISOTROPIC = 3.0
"""Factor by which slices must be thicker than voxels are wide for their spacing to be planned by itself."""

_COMPARABLE = 2.0
"""Axes whose spacing differs by less are halved, and convolved over, together."""

_SMALLEST_SIDE = 4
"""Voxels along an axis below which a stage does not reduce it."""

_OVERHEAD = 1.6
"""Memory of a step relative to the outputs of all layers: gradients on their way back, workspaces."""

PLANNED_AUGMENTATION: Augmentation | None = PLANNED
"""What samples are augmented by where nothing is given; None for the defaults of ``Augmentation``."""

PLANNED_FOREGROUND: ForegroundBy = "class"
"""How foreground voxels are drawn where nothing is given."""

_STATES = 16
"""Bytes a parameter: weight, gradient and two moments of the optimiser, in 32 bits."""


@dataclass(frozen=True)
class Choice:
    """One entry of a plan.

    Attributes:
        value: what was chosen, as YAML and JSON can hold it.
        reason: why, in words, with the numbers that it follows from.
    """

    value: Any
    reason: str


@dataclass(frozen=True)
class Architecture:
    """Kernels and strides of a U-Net, stage by stage, for a patch that suits them.

    Attributes:
        kernels: side along each axis, for each stage.
        strides: reduction along each axis, for each stage.
        patch: sides, rounded up to multiples of the product of the strides.
    """

    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    patch: tuple[int, ...]


def plan_spacing(fingerprint: Fingerprint) -> Choice:
    """Choose the spacing to train at, slices last: the median, and a finer one across slices that vary in thickness.

    Returns:
        Millimetres along each prepared axis.
    """
    axes = fingerprint.axes()
    median = [fingerprint.spacing[axis] for axis in axes]
    if len(axes) < 3 or median[-1] <= _ANISOTROPIC * max(median[:-1]):
        return Choice(median, f"median of {fingerprint.cases} scans")
    fine = max(fingerprint.fine_spacing[axes[-1]], max(median[:-1]))
    if fine >= median[-1]:
        return Choice(median, f"median of {fingerprint.cases} scans; slices are {median[-1]:.3g} mm apart in most")
    return Choice(
        [*median[:-1], fine],
        f"median of {fingerprint.cases} scans within slices; across them the tenth percentile, since the median, "
        f"{median[-1]:.3g} mm, would discard slices of the finer scans",
    )


def plan_architecture(patch: Sequence[int], spacing: Sequence[float]) -> Architecture:
    """Choose depth, kernels and strides for a patch.

    Args:
        patch: sides in voxels.
        spacing: millimetres between voxels, along the same axes.
    """
    sides, distances = [float(side) for side in patch], list(spacing)
    kernels, strides = [_kernel(distances)], [(1,) * len(sides)]
    while True:
        long = [distance for side, distance in zip(sides, distances, strict=True) if side / 2 >= _SMALLEST_SIDE]
        halved = tuple(
            2 if side / 2 >= _SMALLEST_SIDE and distance < _COMPARABLE * min(long) else 1
            for side, distance in zip(sides, distances, strict=True)
        )
        if max(halved) == 1:
            break
        sides = [side / factor for side, factor in zip(sides, halved, strict=True)]
        distances = [distance * factor for distance, factor in zip(distances, halved, strict=True)]
        strides.append(halved)
        # Kernels that have reached across slices keep doing so.
        kernels.append(tuple(map(max, kernels[-1], _kernel(distances))))
    if len(strides) == 1:  # a U-Net has two stages at least
        strides.append((1,) * len(sides))
        kernels.append(kernels[0])
    factors = [math.prod(stage[axis] for stage in strides) for axis in range(len(sides))]
    rounded = tuple(factor * math.ceil(side / factor) for side, factor in zip(patch, factors, strict=True))
    return Architecture(tuple(kernels), tuple(strides), rounded)


def _kernel(spacing: Sequence[float]) -> tuple[int, ...]:
    """3 along axes of a comparable spacing, 1 across slices that are much thicker."""
    finest = min(spacing)
    return tuple(3 if distance < _COMPARABLE * finest else 1 for distance in spacing)


def plan_patch(
    shape: Sequence[int], spacing: Sequence[float], fits: Callable[[Architecture], bool]
) -> tuple[Architecture, Choice]:
    """Choose the largest patch, in the shape of the median scan, whose training step fits into memory.

    Args:
        shape: sides of the median scan at the training spacing, in voxels.
        spacing: millimetres between voxels, along the same axes.
        fits: whether a step fits into memory.

    Raises:
        InputError: not even the smallest patch fits.
    """
    patch = [max(side, _SMALLEST_SIDE) for side in shape]
    chosen = plan_architecture(patch, spacing)
    while not fits(chosen):
        step = [math.prod(stage[axis] for stage in chosen.strides) for axis in range(len(patch))]
        # The axis that keeps most of the scan gives way, so that the patch keeps the scan's shape.
        order = sorted(range(len(patch)), key=lambda axis: -chosen.patch[axis] / shape[axis])
        axis = next((axis for axis in order if chosen.patch[axis] - step[axis] >= _SMALLEST_SIDE), None)
        if axis is None:
            raise InputError(
                "memory",
                f"is too small for a patch of {' x '.join(map(str, chosen.patch))} voxels",
                "plan for a machine with more memory (`memory`), for fewer samples a batch, or for a smaller `width`",
                code="too-large",
            )
        patch = list(chosen.patch)
        patch[axis] -= step[axis]
        chosen = plan_architecture(patch, spacing)
    sides = " x ".join(f"{side * distance:.4g}" for side, distance in zip(chosen.patch, spacing, strict=True))
    whole = all(side >= wanted for side, wanted in zip(chosen.patch, shape, strict=True))
    scan = f"the median scan of {' x '.join(map(str, shape))} voxels"
    reason = f"{sides} mm: {'all' if whole else 'as much as fits into memory'} of {scan}"
    return chosen, Choice(list(chosen.patch), reason)


def plan_mirroring(fingerprint: Fingerprint, class_names: Sequence[str], dimensions: int = 3) -> Choice:
    """Choose the prepared axes along which samples are mirrored: not those that tell classes apart.

    Args:
        fingerprint: of the training scans.
        class_names: background first.
        dimensions: of the network: 2 for slices of volumes.
    """
    names = ("right", "anterior", "superior") if len(fingerprint.spacing) == 3 else ("x", "y")
    kept = {each.axis: each for each in sorted(fingerprint.order, key=lambda each: each.share)}
    axes = [place for place, axis in enumerate(fingerprint.axes()[:dimensions]) if axis not in kept]
    if not kept:
        return Choice(axes, "no two classes keep their order along an axis")
    pairs = "; ".join(
        f"classes {class_names[each.first]} and {class_names[each.second]} keep their order along {names[axis]} in "
        f"{100 * each.share:.0f} % of {each.cases} cases"
        for axis, each in sorted(kept.items())
    )
    return Choice(axes, f"not along the others: {pairs}")


def plan_augmentation(spacing: Sequence[float]) -> Choice:
    """Choose how strongly samples are augmented; where they are mirrored is another entry.

    Args:
        spacing: millimetres between voxels along the axes of the network.

    Returns:
        Arguments of ``Augmentation``.
    """
    if PLANNED_AUGMENTATION is None:
        return Choice(Augmentation().strengths, "the defaults")
    reason = "the changes that nnU-Net makes, about as strong and as often"
    if len(spacing) == 2:
        return Choice(replace(PLANNED_AUGMENTATION, tilt=None).strengths, reason)
    ratio = max(spacing) / min(spacing)
    if ratio > _ANISOTROPIC:
        reason += f"; not across slices, which are {ratio:.3g} times as thick as voxels are wide"
    return Choice(replace(PLANNED_AUGMENTATION, across_slices=ratio <= _ANISOTROPIC).strengths, reason)


@dataclass(frozen=True)
class Machine:
    """What a training may take.

    Attributes:
        name: for human readers.
        memory: bytes for a training step.
        bytes_per_value: 2 where the network computes in bfloat16, else 4.
        width: channels of the network's first stage.
        reason: why that width.
    """

    name: str
    memory: int
    bytes_per_value: int
    width: int
    reason: str


@dataclass(frozen=True)
class TrainingPlan:
    """All that was chosen for a training, each entry with its reason.

    Attributes:
        entries: by name: machine, spacing, patch, network, mirroring, augmentation, foreground, memory.
    """

    entries: Mapping[str, Choice]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingPlan:
        """The reverse of ``to_json``."""
        return cls({name: Choice(entry["value"], entry["reason"]) for name, entry in content.items()})

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {name: {"value": entry.value, "reason": entry.reason} for name, entry in self.entries.items()}

    def lines(self) -> list[str]:
        """One line for each entry, for human readers."""
        width = max(map(len, self.entries))
        return [f"{name:<{width}}  {_shown(entry.value)} ({entry.reason})" for name, entry in self.entries.items()]

    @property
    def spacing(self) -> tuple[float | None, ...]:
        """Millimetres between voxels along each prepared axis; None keeps the scan's own."""
        return tuple(self.entries["spacing"].value)

    @property
    def patch(self) -> tuple[int, ...]:
        """Sides of the crops in voxels."""
        return tuple(self.entries["patch"].value)

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of ``PlannedUNet``."""
        return dict(self.entries["network"].value)

    @property
    def mirroring(self) -> tuple[int, ...]:
        """Prepared axes along which samples may be mirrored."""
        return tuple(self.entries["mirroring"].value)

    @property
    def augmentation(self) -> dict[str, Any]:
        """Arguments of ``Augmentation``, without those of mirroring; none in plans that were written without."""
        return dict(self.entries["augmentation"].value) if "augmentation" in self.entries else {}

    @property
    def foreground_by(self) -> ForegroundBy:
        """How foreground voxels are drawn."""
        return "class" if "foreground" in self.entries and self.entries["foreground"].value == "class" else "voxel"


def plan_training(
    fingerprint: Fingerprint,
    *,
    channels: int,
    class_names: Sequence[str],
    slices: bool,
    batch: int,
    networks: float,
    machine: Machine,
    spacing: Sequence[float | None] | None = None,
    patch: Sequence[int] | None = None,
    augmentation: Mapping[str, Any] | None = None,
    foreground_by: ForegroundBy | None = None,
) -> TrainingPlan:
    """Plan network, patch and augmentation of a training.

    Args:
        fingerprint: of the training scans.
        channels: image channels.
        class_names: background first.
        slices: a 2D network sees slices of volumes.
        batch: samples of a step.
        networks: how many networks the method trains.
        machine: what there is.
        spacing: millimetres between voxels, slices last, where they are given.
        patch: sides of the crops, where they are given.
        augmentation: arguments of ``Augmentation``, where some are given; those of mirroring do not count.
        foreground_by: how foreground voxels are drawn, where that is given.

    Raises:
        InputError: no patch fits into the memory.
    """
    entries = {"machine": Choice(machine.name, f"{machine.memory / 2**30:.3g} GiB for a step")}
    entries["spacing"] = plan_spacing(fingerprint) if spacing is None else Choice(list(spacing), "as given")
    if slices:
        entries["spacing"] = replace(entries["spacing"], value=[*entries["spacing"].value[:2], None])
    dimensions = len(fingerprint.spacing) - slices
    own = [fingerprint.spacing[axis] for axis in fingerprint.axes()]
    distances = [wanted or kept for wanted, kept in zip(entries["spacing"].value, own, strict=True)][:dimensions]
    extent = [fingerprint.extent[axis] for axis in fingerprint.axes()][:dimensions]
    shape = [max(1, round(side / distance)) for side, distance in zip(extent, distances, strict=True)]
    classes = len(class_names)

    def memory(chosen: Architecture) -> int:
        with torch.device("meta"):
            network = PlannedUNet(channels, classes, dimensions, **architecture_arguments(chosen, machine.width))
        return int(networks * step_bytes(network, channels, chosen.patch, batch, machine.bytes_per_value))

    if patch is None:
        chosen, entries["patch"] = plan_patch(shape, distances, lambda tried: memory(tried) <= machine.memory)
    else:
        chosen = plan_architecture(patch, distances)
        entries["patch"] = Choice(list(patch), "as given")
        if chosen.patch != tuple(patch):
            raise InputError(
                "patch",
                f"must suit the strides of the planned network, got {' '.join(map(str, patch))}",
                f"the next that does is `patch {' '.join(map(str, chosen.patch))}`",
                code="mismatch",
            )
    stages = len(chosen.strides)
    entries["network"] = Choice(
        architecture_arguments(chosen, machine.width),
        f"U-Net of {stages} stages: axes are halved down to {_SMALLEST_SIDE} voxels; {machine.reason}",
    )
    entries["batch"] = Choice(batch, "as the method composes it")
    entries["mirroring"] = plan_mirroring(fingerprint, class_names, dimensions)
    entries["augmentation"] = Choice(dict(augmentation), "as given") if augmentation else plan_augmentation(distances)
    entries["foreground"] = Choice(PLANNED_FOREGROUND, "crops are centred on all classes of a label equally often")
    if foreground_by:
        entries["foreground"] = Choice(foreground_by, "as given")
    needed = memory(chosen)
    entries["memory"] = Choice(f"{needed / 2**30:.2g} GiB", "for a training step, estimated")
    return TrainingPlan(entries)


def step_bytes(network: Network, in_channels: int, patch: Sequence[int], batch: int, bytes_per_value: int) -> int:
    """Estimate the memory of a training step in bytes: activations with their gradients, and the optimiser's state."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return int(_OVERHEAD * training_bytes(network, in_channels, patch, batch, bytes_per_value)) + _STATES * parameters


def architecture_arguments(chosen: Architecture, width: int) -> dict[str, Any]:
    """Arguments of ``PlannedUNet``, as YAML and JSON can hold them.

    Args:
        chosen: kernels and strides.
        width: channels of the first stage; they double from stage to stage, up to ten times as many (16 in 2D).
    """
    widest = width * (10 if len(chosen.patch) == 3 else 16)
    return {
        "kernels": [list(kernel) for kernel in chosen.kernels],
        "strides": [list(stride) for stride in chosen.strides],
        "widths": [min(width * 2**stage, widest) for stage in range(len(chosen.strides))],
    }


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        if value and all(isinstance(item, list) and len(set(item)) == 1 for item in value):
            return " ".join(f"{item[0]}" for item in value)
        return " ".join("x".join(map(str, item)) if isinstance(item, list) else _number(item) for item in value)
    return _number(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "own" if value is None else str(value)
