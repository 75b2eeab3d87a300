"""Depth, kernels, strides and patch of a planned network, and the memory that a step with it takes.

The rules follow the description of nnU-Net's planner (Isensee et al., Nature Methods 2021, online methods): the network
sees as much of a scan as fits into memory, in the shape of the median scan; axes are halved while they are long enough
and not much coarser than the others. What differs is stated where it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segmend.core.errors import InputError
from segmend.engine.plan import Choice
from segmend.networks import Network
from segmend.networks.fitting import training_bytes

_COMPARABLE = 2.0
"""Axes whose spacing differs by less are halved, and convolved over, together."""

SMALLEST_SIDE = 4
"""Voxels along an axis below which a stage does not reduce it."""

_OVERHEAD = 1.6
"""Memory of a step relative to the outputs of all layers: gradients on their way back, workspaces."""

_STATES = 16
"""Bytes a parameter: weight, gradient and two moments of the optimiser, in 32 bits."""


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


def plan_architecture(patch: Sequence[int], spacing: Sequence[float]) -> Architecture:
    """Choose depth, kernels and strides for a patch.

    Args:
        patch: sides in voxels.
        spacing: millimetres between voxels, along the same axes.
    """
    sides, distances = [float(side) for side in patch], list(spacing)
    kernels, strides = [_kernel(distances)], [(1,) * len(sides)]
    while True:
        long = [distance for side, distance in zip(sides, distances, strict=True) if side / 2 >= SMALLEST_SIDE]
        halved = tuple(
            2 if side / 2 >= SMALLEST_SIDE and distance < _COMPARABLE * min(long) else 1
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
    patch = [max(side, SMALLEST_SIDE) for side in shape]
    chosen = plan_architecture(patch, spacing)
    while not fits(chosen):
        step = [math.prod(stage[axis] for stage in chosen.strides) for axis in range(len(patch))]
        # The axis that keeps most of the scan gives way, so that the patch keeps the scan's shape.
        order = sorted(range(len(patch)), key=lambda axis: -chosen.patch[axis] / shape[axis])
        axis = next((axis for axis in order if chosen.patch[axis] - step[axis] >= SMALLEST_SIDE), None)
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


def step_bytes(network: Network, in_channels: int, patch: Sequence[int], batch: int, bytes_per_value: int) -> int:
    """Estimate the memory of a training step in bytes: activations with their gradients, and the optimiser's state."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return int(_OVERHEAD * training_bytes(network, in_channels, patch, batch, bytes_per_value)) + _STATES * parameters


def architecture_arguments(chosen: Architecture, width: int, residual: bool = False) -> dict[str, Any]:
    """Arguments of ``PlannedUNet``, as YAML and JSON can hold them.

    Args:
        chosen: kernels and strides.
        width: channels of the first stage; they double from stage to stage, up to ten times as many (16 in 2D).
        residual: the encoder is residual.
    """
    widest = width * (10 if len(chosen.patch) == 3 else 16)
    arguments: dict[str, Any] = {
        "kernels": [list(kernel) for kernel in chosen.kernels],
        "strides": [list(stride) for stride in chosen.strides],
        "widths": [min(width * 2**stage, widest) for stage in range(len(chosen.strides))],
    }
    return {**arguments, "residual": True} if residual else arguments
