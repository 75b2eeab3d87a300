"""Which patches a network accepts, and their memory cost; determined from shapes alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import psutil
import torch
from torch import Tensor, nn

from segmend.core.errors import InputError
from segmend.networks._base import Network

_LARGEST_MULTIPLE = 128
_TYPICAL_VOXELS = {2: 256 * 256, 3: 112 * 112 * 80}


def check_patch(network: Network, in_channels: int, patch: Sequence[int]) -> None:
    """Check that the network maps a patch to logits of the same size.

    Raises:
        InputError: it does not; the message names the nearest patch that fits.
    """
    trial = copy.deepcopy(network).to("meta").eval()
    if not _accepts(trial, in_channels, patch):
        near = nearest_patch(network, in_channels, patch)
        advice = f"the nearest that fits is `patch {' '.join(map(str, near))}`" if near else "try a larger patch"
        raise InputError(
            "patch", f"{' '.join(map(str, patch))} does not fit {type(network).__name__}", advice, code="mismatch"
        )


def check_window(network: Network, in_channels: int, classes: int, patch: Sequence[int]) -> None:
    """Check that a network can predict windows of these sides, and that one fits into memory.

    Raises:
        InputError: it cannot, or it does not.
    """
    trial = copy.deepcopy(network).to("meta").eval()
    sides = " x ".join(map(str, patch))
    if not _accepts(trial, in_channels, patch):
        raise InputError(
            "patch", f"a window of {sides} voxels does not fit {type(network).__name__}", "train again", code="mismatch"
        )
    needed, free = 4 * (in_channels + classes) * math.prod(patch), psutil.virtual_memory().available
    if needed > free:
        problem = f"a window of {sides} voxels needs {needed / 2**30:.0f} GiB, but {free / 2**30:.0f} GiB are free"
        raise InputError("patch", problem, "train with a smaller `patch`", code="too-large")


def nearest_patch(network: Network, in_channels: int, wanted: Sequence[int]) -> tuple[int, ...] | None:
    """Find the patch nearest to the wanted one that the network accepts, or None.

    Sides are rounded to multiples of the smallest power of two that works for all of them.
    """
    trial = copy.deepcopy(network).to("meta").eval()
    if _accepts(trial, in_channels, wanted):
        return tuple(wanted)
    multiple = 2
    while multiple <= _LARGEST_MULTIPLE:
        rounded = tuple(max(multiple, round(side / multiple) * multiple) for side in wanted)
        if _accepts(trial, in_channels, rounded):
            return rounded
        multiple *= 2
    return None


def choose_patch(network: Network, in_channels: int, scan_shape: Sequence[int]) -> tuple[int, ...]:
    """Choose a patch for scans of this typical shape: as much of the scan as a typical GPU can hold.

    Raises:
        InputError: the network accepts no patch of about that size.
    """
    sides = [float(side) for side in scan_shape]
    excess = torch.tensor(sides).prod().item() / _TYPICAL_VOXELS[len(sides)]
    while excess > 1.01:
        # Only the longest sides shrink, so that a thin stack keeps all of its slices.
        longest = max(sides)
        sides = [min(side, 0.95 * longest) for side in sides]
        excess = torch.tensor(sides).prod().item() / _TYPICAL_VOXELS[len(sides)]
    patch = nearest_patch(network, in_channels, [max(1, int(side)) for side in sides])
    if patch is None:
        raise InputError(
            f"network {type(network).__name__}",
            f"accepts no patch near {'x'.join(str(int(side)) for side in sides)}",
            "give one by `patch`",
            code="mismatch",
        )
    return patch


def training_bytes(network: Network, in_channels: int, patch: Sequence[int], batch: int, bytes_per_value: int) -> int:
    """Estimate the memory of a training step: the outputs of all layers, kept for the backward pass."""
    trial = copy.deepcopy(network).to("meta").train()
    kept = 0

    def count(module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal kept
        if isinstance(output, Tensor) and not list(module.children()):
            kept += output.numel() * bytes_per_value

    handles = [module.register_forward_hook(count) for module in trial.modules()]
    trial(torch.empty(batch, in_channels, *patch, device="meta"))
    for handle in handles:
        handle.remove()
    return kept


def _accepts(trial: Network, in_channels: int, patch: Sequence[int]) -> bool:
    try:
        logits = trial(torch.empty(2, in_channels, *patch, device="meta"))
    except Exception:  # networks reject a size with many kinds of errors
        return False
    return tuple(logits.shape[2:]) == tuple(patch)
