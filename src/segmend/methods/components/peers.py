"""Second networks that are initialised differently from the first."""

from __future__ import annotations

import copy
from collections.abc import Callable

from segmend.networks import Network


def reinitialised_copy(network: Network) -> Network:
    """Create a network of the same architecture with its own random initialisation; nothing is shared.

    Methods whose networks teach each other need them to disagree at first. Draws from torch's global
    generator, so that the seed of the run decides.
    """
    peer = copy.deepcopy(network)
    for module in peer.modules():
        # Every layer of torch that has weights has it; containers, whose children are visited anyway, have not.
        reset: Callable[[], None] | None = getattr(module, "reset_parameters", None)
        if reset:
            reset()
    return peer
