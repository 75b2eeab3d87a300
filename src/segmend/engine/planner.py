"""The plan of a training: what is chosen from the data and the machine, with the reason for each choice.

The rules follow the description of nnU-Net's planner (Isensee et al., Nature Methods 2021, online methods): the network
sees as much of a scan as fits into memory, in the shape of the median scan; axes are halved while they are long enough
and not much coarser than the others. What differs is stated where it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segmend.core.errors import InputError
from segmend.data.fingerprint import Fingerprint
from segmend.networks import PlannedUNet
from segmend.networks.fitting import training_bytes

_ANISOTROPIC = 3.0
"""Factor by which slices must be thicker than voxels are wide for their spacing to be planned by itself."""

_COMPARABLE = 2.0
"""Axes whose spacing differs by less are halved, and convolved over, together."""

_SMALLEST_SIDE = 4
"""Voxels along an axis below which a stage does not reduce it."""

_SMALLEST_BATCH = 2
_LARGEST_SHARE = 0.05
"""Fraction of all training voxels that a batch may hold at most."""

_OVERHEAD = 1.6
"""Memory of a step relative to the outputs of all layers: gradients on their way back, workspaces."""

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
        finest = min(distances)
        halved = tuple(
            2 if side / 2 >= _SMALLEST_SIDE and distance < _COMPARABLE * finest else 1
            for side, distance in zip(sides, distances, strict=True)
        )
        if max(halved) == 1:
            break
        sides = [side / factor for side, factor in zip(sides, halved, strict=True)]
        distances = [distance * factor for distance, factor in zip(distances, halved, strict=True)]
        strides.append(halved)
        kernels.append(_kernel(distances))
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
    """Choose the largest patch, in the shape of the median scan, whose training step fits.

    Args:
        shape: sides of the median scan at the training spacing, in voxels.
        spacing: millimetres between voxels, along the same axes.
        fits: whether a step of the smallest batch fits into memory.

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
                "plan for a machine with more memory, or give a smaller network",
            )
        patch = list(chosen.patch)
        patch[axis] -= step[axis]
        chosen = plan_architecture(patch, spacing)
    sides = " x ".join(f"{side * distance:.4g}" for side, distance in zip(chosen.patch, spacing, strict=True))
    whole = all(side >= wanted for side, wanted in zip(chosen.patch, shape, strict=True))
    scan = f"the median scan of {' x '.join(map(str, shape))} voxels"
    reason = f"{sides} mm: {'all' if whole else 'as much as fits into memory'} of {scan}"
    return chosen, Choice(list(chosen.patch), reason)


def plan_batch(
    patch: Sequence[int], shape: Sequence[int], cases: int, memory: Callable[[int], int], available: int
) -> Choice:
    """Choose the number of samples: as many as fit, but no more than a twentieth of all training voxels.

    Args:
        patch: sides in voxels.
        shape: sides of the median scan, in voxels.
        cases: number of training cases.
        memory: bytes of a step with a number of samples.
        available: bytes.
    """
    most = max(_SMALLEST_BATCH, int(_LARGEST_SHARE * cases * math.prod(shape) / math.prod(patch)))
    batch = _SMALLEST_BATCH
    while batch < most and memory(batch + 1) <= available:
        batch += 1
    limit = "5 % of the training voxels" if batch == most else "what fits into memory"
    return Choice(batch, f"{limit}, and at least {_SMALLEST_BATCH}")


def plan_mirroring(fingerprint: Fingerprint, class_names: Sequence[str]) -> Choice:
    """Choose the prepared axes along which samples are mirrored: not those that tell classes apart.

    Args:
        fingerprint: of the training scans.
        class_names: background first.
    """
    names = ("right", "anterior", "superior") if len(fingerprint.spacing) == 3 else ("x", "y")
    kept = {each.axis: each for each in sorted(fingerprint.order, key=lambda each: each.share)}
    axes = [place for place, axis in enumerate(fingerprint.axes()) if axis not in kept]
    if not kept:
        return Choice(axes, "no two classes keep their order along an axis")
    told = "; ".join(
        f"classes {class_names[each.first]} and {class_names[each.second]} keep their order along {names[axis]} in "
        f"{100 * each.share:.0f} % of {each.cases} cases"
        for axis, each in sorted(kept.items())
    )
    return Choice(axes, f"not along the others: {told}")


def step_bytes(network: PlannedUNet, in_channels: int, patch: Sequence[int], batch: int, bytes_per_value: int) -> int:
    """Estimate the memory of a training step in bytes: activations with their gradients, and the optimiser's state."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return int(_OVERHEAD * training_bytes(network, in_channels, patch, batch, bytes_per_value)) + _STATES * parameters


def architecture_arguments(chosen: Architecture, widths: Sequence[int]) -> Mapping[str, Any]:
    """Arguments of ``PlannedUNet``, as YAML and JSON can hold them."""
    return {
        "kernels": [list(kernel) for kernel in chosen.kernels],
        "strides": [list(stride) for stride in chosen.strides],
        "widths": list(widths),
    }
