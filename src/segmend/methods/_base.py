"""The contract between a method and everything that drives it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from segmend.configured import Configured
from segmend.data.batch import Batch
from segmend.data.sampling import Composition
from segmend.networks import Network

Kind = Literal["supervised", "semi", "noisy", "mixed"]


@dataclass(frozen=True, slots=True)
class Step:
    """Where in the run we are.

    Attributes:
        index: optimiser steps done before this one.
        total: optimiser steps of the whole run.
    """

    index: int
    total: int

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        return self.index / self.total


class Method(Configured, nn.Module, ABC):
    """A way to train a network from imperfect labels.

    The constructor takes the network and then keyword-only arguments: it is the whole configuration.
    A method never sees a loader, an optimiser, a device, a logger or the number of dimensions.

    Args:
        network: the network that is trained and, unless ``predict`` says otherwise, predicts.

    Attributes:
        kind: the imperfection it is for; also the folder that its file lies in.
        paper: short citation, or "" for a baseline.
        needs: composition of its batch, unless the user gives another.
    """

    kind: ClassVar[Kind]
    paper: ClassVar[str] = ""
    needs: Composition

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The weighted terms of the loss by name; the learner adds them up and logs each."""

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities ``[B, C, *spatial]`` of images ``[B, channels, *spatial]``."""
        logits: Tensor = self.network(image)
        return logits.float().softmax(1)

    def after_step(self, step: Step) -> None:
        """Called when the optimiser has moved the weights: moving averages, memories."""
