"""How long a training will take: the arithmetic of a step divided by what this machine computes in a second.

The multiply-adds of all convolutions of a step are counted from shapes alone. The rate is measured: the same network
makes a few passes over crops that are small enough for about a second. Loading, augmentation and the optimiser come on
top, and other programs may take their part of the machine: the estimate is meant to be right within a factor of two.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segmend.core.precision import Precision, autocast, best_device, float32_small_convs_on_cpu, resolved
from segmend.engine.learner import CHANNELS_LAST, channels_last
from segmend.networks import Network
from segmend.networks.fitting import nearest_patch

_SECONDS = 0.7
"""How long passes are timed, after a first one that allocates memory and chooses kernels."""

_VOXELS = {"cpu": 2**17, "cuda": 2**23}
"""Voxels of a batch that is timed, by the kind of device: enough to keep it busy."""

_FEWEST, _MOST = 2, 50
"""Passes that are timed."""

_MEASURED: dict[tuple[object, ...], float] = {}
"""Rates that this process has measured: folds and repeated plans need not wait again."""


@dataclass(frozen=True)
class StepTime:
    """What a training step is estimated to take.

    Attributes:
        multiply_adds: of all convolutions of a step, forwards and backwards.
        rate: multiply-adds a second that this machine has shown.
    """

    multiply_adds: int
    rate: float

    @property
    def seconds(self) -> float:
        """Of a step."""
        return self.multiply_adds / self.rate


def step_time(
    network: Network, in_channels: int, patch: Sequence[int], batch: int, networks: float, precision: Precision
) -> StepTime:
    """Estimate the time of a training step on this machine; takes about a second.

    Args:
        network: to be trained; it is not changed.
        in_channels: image channels.
        patch: sides of the crops in voxels.
        batch: samples of a step on one device.
        networks: how many of these networks the method trains.
        precision: of the network.
    """
    device = best_device()
    crop = _crop(network, in_channels, patch, batch, _VOXELS.get(device.type, _VOXELS["cpu"]))
    kind = (type(network), repr(network.arguments), in_channels, crop, batch, precision, torch.get_num_threads())
    if kind not in _MEASURED:
        _MEASURED[kind] = _rate(network, in_channels, crop, batch, precision, device)
    return StepTime(int(networks * multiply_adds(network, in_channels, patch, batch)), _MEASURED[kind])


def multiply_adds(network: nn.Module, in_channels: int, patch: Sequence[int], batch: int) -> int:
    """Multiply-adds of the convolutions of a step, forwards and backwards, counted from shapes alone.

    Args:
        network: any network; it is not changed.
        in_channels: image channels.
        patch: sides of the crops in voxels.
        batch: samples.
    """
    trial = copy.deepcopy(network).to("meta").train()
    with FlopCounterMode(display=False) as counted:
        trial(torch.empty(batch, in_channels, *patch, device="meta")).sum().backward()
    return int(counted.get_total_flops()) // 2


def _crop(network: Network, in_channels: int, patch: Sequence[int], batch: int, voxels: int) -> tuple[int, ...]:
    """A patch that the network takes, its longest sides shortened until a batch has few enough voxels."""
    best = tuple(patch)
    sides = [float(side) for side in patch]
    while batch * math.prod(best) > voxels:
        longest = sides.index(max(sides))
        sides[longest] *= 0.75
        found = nearest_patch(network, in_channels, [max(1, round(side)) for side in sides])
        if found is None or max(sides) < 8:
            break
        best = min(best, found, key=math.prod)
    return best


def _rate(
    network: Network,
    in_channels: int,
    crop: Sequence[int],
    batch: int,
    precision: Precision,
    device: torch.device,
) -> float:
    """Multiply-adds a second, of the fastest pass forwards and backwards: others may have waited for other programs."""
    layout = CHANNELS_LAST[len(crop) + 2]
    with torch.random.fork_rng(devices=[]):  # a measurement must not change what is drawn for the training
        trial = channels_last(copy.deepcopy(network).to(device)).train()
        image = torch.randn(batch, in_channels, *crop).to(device).contiguous(memory_format=layout)
        times: list[float] = []
        while len(times) <= _FEWEST or (sum(times[1:]) < _SECONDS and len(times) < _MOST):
            started = _now(device)
            with float32_small_convs_on_cpu(device), autocast(resolved(precision, device), device):
                logits = trial(image)
            logits.float().square().mean().backward()
            times.append(_now(device) - started)
    return multiply_adds(network, in_channels, crop, batch) / min(times[1:])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
