"""Two networks whose outputs a test writes down, for methods in which two networks teach each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmend.methods import Method
from segmend.networks import Network


class Readout(Network):
    """Reads its logits off the image: the first network the first half of the channels, its peer the second."""

    def __init__(self, in_channels: int = 4, classes: int = 2, dimensions: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.half = 0

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * image.chunk(2, dim=1)[self.half]


def paired(cls: type[Method], **arguments) -> Method:
    """The method around a readout and its peer, without a ramp unless told otherwise."""
    method = cls(Readout(), **({"ramp_length": 0.0} | arguments))
    method.peer.half = 1
    return method


def scans(first: list[list[float]], second: list[list[float]]) -> Tensor:
    """Images of which the networks make these probabilities of the object: rows are samples."""
    p, q = torch.tensor(first), torch.tensor(second)
    return torch.stack([1 - p, p, 1 - q, q], dim=1).log()
