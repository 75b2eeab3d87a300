"""Two networks whose outputs a test writes down, for methods in which two networks teach each other."""

from __future__ import annotations

from inspect import signature

import torch
from torch import Tensor
from written_networks import ChannelsAsLogits

from segmend.methods import Method


def paired(cls: type[Method], **arguments: object) -> Method:
    """The method around a network that reads the first half of the channels and a peer that reads the second.

    Without a ramp, unless the arguments say otherwise.
    """
    unramped = {"ramp_length": 0.0} if "ramp_length" in signature(cls).parameters else {}
    method = cls(ChannelsAsLogits(), **(unramped | arguments))
    method.peer.group = 1
    return method


def scans(first: list[list[float]], second: list[list[float]]) -> Tensor:
    """Images ``[B, 4, voxels]`` of which the networks make these probabilities of the object: rows are samples."""
    p, q = torch.tensor(first), torch.tensor(second)
    return torch.stack([1 - p, p, 1 - q, q], dim=1).log()
