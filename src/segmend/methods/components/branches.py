"""Networks that share a part."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from segmend.methods.components.peers import reinitialised_copy
from segmend.methods.components.sub_modules import sub_modules
from segmend.networks import Network
from segmend.networks.blocks import convolution

Upsampling = Literal["linear", "nearest"]
"""Linear interpolation with corners aligned, or the nearest voxel."""

_LINEAR = {2: "bilinear", 3: "trilinear"}
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def second_decoder(network: Network, shared: Sequence[str]) -> Network:
    """A second decoder on a network's encoder: the named sub-modules are the first network's own.

    Everything else has the same architecture and its own random initialisation. Shared sub-modules are trained and
    passed by both networks: a batch that goes through each network goes through the encoder twice, with equal features
    unless dropout lies in between.

    Args:
        network: the first.
        shared: names of the shared sub-modules, as in ``network.named_modules()``.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """
    branch = reinitialised_copy(network)
    for name, module in zip(shared, sub_modules(network, shared, "encoder stage", "shared"), strict=True):
        branch.set_submodule(name, module)
    return branch


def differing_decoders(network: Network, shared: Sequence[str], count: int) -> list[Network]:
    """One or two further decoders on a network's encoder that upsample in other ways, as in MC-Net (``upsample_by``).

    After transposed convolutions come linear and then nearest upsampling. After a network that interpolates linearly
    itself comes nearest upsampling, and then a second linear decoder with another random initialisation.

    Args:
        network: encoder and first decoder.
        shared: names of the shared sub-modules, see ``second_decoder``.
        count: how many, 1 or 2.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """
    transposes = any(isinstance(module, _TRANSPOSED) for module in network.modules())
    modes: tuple[Upsampling, Upsampling] = ("linear", "nearest") if transposes else ("nearest", "linear")
    branches = [second_decoder(network, shared) for _ in modes[:count]]
    for branch, mode in zip(branches, modes, strict=False):
        upsample_by(branch, mode)
    return branches


def upsample_by(network: Network, mode: Upsampling) -> None:
    """Replace how a network upsamples, in place.

    A transposed convolution becomes an interpolation by its stride and a 3-voxel convolution with its own random
    initialisation; modules that interpolate get the other mode. A network that does neither stays as it is.

    Args:
        network: any.
        mode: of all interpolations.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Upsample):
            network.set_submodule(name, _interpolation(module.scale_factor, mode, network.arguments["dimensions"]))
        elif isinstance(module, _TRANSPOSED) and _multiplies_size(module):
            dimensions = len(module.stride)
            network.set_submodule(
                name,
                nn.Sequential(
                    _interpolation(tuple(map(float, module.stride)), mode, dimensions),
                    convolution(module.in_channels, module.out_channels, 3, dimensions),
                ),
            )


def _interpolation(factor: float | tuple[float, ...] | None, mode: Upsampling, dimensions: int) -> nn.Upsample:
    if mode == "nearest":
        return nn.Upsample(scale_factor=factor, mode="nearest")
    return nn.Upsample(scale_factor=factor, mode=_LINEAR[dimensions], align_corners=True)


def _multiplies_size(module: nn.ConvTranspose2d | nn.ConvTranspose3d) -> bool:
    """Whether the output is exactly stride times as large, so that an interpolation can take its place."""
    trial = torch.empty(1, module.in_channels, *[2] * len(module.stride), device="meta")
    size = copy.deepcopy(module).to("meta")(trial).shape[2:]
    return all(side == 2 * stride for side, stride in zip(size, module.stride, strict=True))
