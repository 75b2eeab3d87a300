"""Networks that share a part."""

from __future__ import annotations

from collections.abc import Sequence

from segmend.methods.components.peers import reinitialised_copy
from segmend.methods.components.sub_modules import sub_modules
from segmend.networks import Network


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
