"""Methods that train two networks of one architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmend.functional.losses import probabilities
from segmend.methods._base import Method
from segmend.methods.components.peers import reinitialised_copy
from segmend.networks import Network

Prediction = Literal["first", "second", "mean"]
"""Which of two networks predicts; the mean is of their probabilities."""


class TwoNetworks(Method):
    """The base of methods whose two networks teach each other.

    Args:
        network: the first network; the second, ``peer``, has its architecture and its own random initialisation.
        prediction: which of them predicts.
    """

    cost = "2 networks"

    def __init__(self, network: Network, *, prediction: Prediction) -> None:
        super().__init__(network)
        self.peer = reinitialised_copy(network)
        self.prediction: Prediction = prediction

    @property
    def networks(self) -> tuple[Network, Network]:
        """The first and the second."""
        return self.network, self.peer

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities ``[B, C, *spatial]`` of the selected network, or the mean of both."""
        chosen = {"first": self.networks[:1], "second": self.networks[1:], "mean": self.networks}[self.prediction]
        return mean_probabilities(chosen, image)


def mean_probabilities(networks: Sequence[Network], image: Tensor) -> Tensor:
    """Mean of the networks' class probabilities ``[B, C, *spatial]`` of images ``[B, channels, *spatial]``."""
    return torch.stack([probabilities(network(image)) for network in networks]).mean(0)
