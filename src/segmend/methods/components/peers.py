"""Second networks that are initialised differently from the first."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from segmend.networks import Network

Predictor = Literal["first", "second", "mean"]
"""Which of two networks predicts; the mean is of their probabilities."""


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


def predict_by(predictor: Predictor, first: Network, second: Network, image: Tensor) -> Tensor:
    """Class probabilities ``[B, C, *spatial]`` of images ``[B, channels, *spatial]``, by either peer or both."""
    asked = {"first": (first,), "second": (second,), "mean": (first, second)}[predictor]
    return torch.stack([network(image).float().softmax(1) for network in asked]).mean(0)
