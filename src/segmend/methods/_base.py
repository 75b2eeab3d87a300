"""The contract between a method and everything that drives it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.configured import Configured
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


class LabelledCase(Protocol):
    """A whole training case on the grid that is trained on, as a method sees it that rewrites labels.

    Attributes:
        name: of the case.
        quality: how far its given label can be trusted.
        annotator: who drew the given label; "" if not told.
        spacing: mm from voxel to voxel along each axis.
        sliced: the network sees 2D slices of this 3D case, which lie along its last axis.
        given: ``[*spatial]`` uint8 class indices, or ``IGNORE``; all ``IGNORE`` without a label. Never rewritten.
    """

    @property
    def name(self) -> str: ...
    @property
    def quality(self) -> Quality: ...
    @property
    def annotator(self) -> str: ...
    @property
    def spacing(self) -> tuple[float, ...]: ...
    @property
    def sliced(self) -> bool: ...
    @property
    def given(self) -> Tensor: ...

    def layer(self, name: str) -> Tensor:
        """The newest labels ``[*spatial]`` of a layer; the given ones where it was never rewritten."""

    def rewritten(self, name: str) -> bool:
        """Whether the layer was rewritten before."""

    def maps(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """What a function of images makes of the whole scan, window by window.

        Args:
            function: takes ``[B, channels, *spatial]`` to ``[B, K, *spatial]``, as probabilities do.

        Returns:
            ``[K, *spatial]`` float32 on the CPU, windows averaged where they overlap.
        """


@dataclass(frozen=True, slots=True)
class Revision:
    """New labels of one case.

    Attributes:
        case: its name.
        layer: one of the method's label layers.
        label: ``[*spatial]`` uint8 class indices.
        offsets: how far surfaces were moved and why, a row for each class; for people to read, in ``offsets.csv``.
        sampling_weight: how often the case comes into batches from now on, >= 0, where others come with 1; None says
            nothing, which is 1.
    """

    case: str
    layer: str
    label: Tensor
    offsets: Sequence[Mapping[str, str | float]] = ()
    sampling_weight: float | None = None


class Method(Configured, nn.Module, ABC):
    """A way to train a network from imperfect labels.

    The constructor takes the network and then keyword-only arguments: it is the whole configuration.
    A method never sees a loader, an optimiser, a device, a logger or the number of dimensions.

    Args:
        network: the network that is trained and, unless ``predict`` says otherwise, predicts.

    Attributes:
        kind: the imperfection it is for; also the folder that its file lies in.
        paper: short citation, or "" for a baseline.
        cost: networks, and what a training step has beside one pass and its gradient for each.
        needs: composition of its batch, unless the user gives another.
        layers: label layers that it rewrites while it trains; batches carry each of them beside the given labels.
        carried: those of them that hold something else than labels, and are not judged as such.
        labels_unlabelled: unlabelled cases get labels from plain training on the others before it starts, and are
            noisy ones from then on.
    """

    kind: ClassVar[Kind]
    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    needs: Composition
    layers: ClassVar[tuple[str, ...]] = ()
    carried: ClassVar[tuple[str, ...]] = ()
    labels_unlabelled: ClassVar[bool] = False

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

    def revises(self, step: Step) -> bool:
        """Whether labels are rewritten before this step. A function of the step alone, so that it can be foreseen."""
        return False

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """New labels, from what the networks have learned so far; called in evaluation mode, without gradients.

        Args:
            cases: all training cases.
            step: the first one that will see the new labels.

        Returns:
            The labels that change; all others stay as they are.
        """
        return ()
