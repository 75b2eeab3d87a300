"""The interface between a method and the code that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.config import Configured
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
        """Completed fraction of the run, 0..1."""
        return self.index / self.total


class LabelledCase(Protocol):
    """A whole training case on the training grid, as given to a method that revises labels.

    Attributes:
        name: of the case.
        quality: how reliable its given label is.
        annotator: who drew the given label; "" if unknown.
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
        """The newest labels ``[*spatial]`` of a layer; the given ones if it was never revised."""

    def rewritten(self, name: str) -> bool:
        """Whether the layer was revised before."""

    def maps(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function of images to the whole scan, window by window.

        Args:
            function: maps ``[B, channels, *spatial]`` to ``[B, K, *spatial]``, like ``probabilities``.

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
        offsets: by what distance surfaces were moved and why, one row per class; for human readers, in ``offsets.csv``.
        sampling_weight: how often the case is sampled from now on, >= 0, relative to 1 for the others; None means
            unset, that is, 1.
    """

    case: str
    layer: str
    label: Tensor
    offsets: Sequence[Mapping[str, str | float]] = ()
    sampling_weight: float | None = None


class Method(Configured, nn.Module, ABC):
    """A way to train a network with imperfect labels.

    The constructor takes the network and then keyword-only arguments: it is the whole configuration.
    A method never sees a loader, an optimiser, a device, a logger or the number of dimensions.

    Args:
        network: the network that is trained and, unless ``predict`` says otherwise, predicts.

    Attributes:
        kind: the kind of imperfection it addresses; also the folder of its file.
        paper: short citation, or "" for a baseline.
        cost: networks, and what a training step needs in addition to one pass and its gradient for each.
        needs: composition of its batch, unless the user sets another.
        layers: label layers that it revises during training; batches carry each of them in addition to the given
            labels.
        carried: those of them that hold something other than labels, and are not evaluated as labels.
        needs_initial_labels: before it starts, plain training on the other cases labels the unlabelled ones, which are
            noisy cases from then on.
    """

    kind: ClassVar[Kind]
    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    needs: Composition
    layers: ClassVar[tuple[str, ...]] = ()
    carried: ClassVar[tuple[str, ...]] = ()
    needs_initial_labels: ClassVar[bool] = False

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
        """Called after each optimiser step: updates moving averages and memories."""

    def revises(self, step: Step) -> bool:
        """Whether labels are revised before this step. Depends on the step alone, so it is known in advance."""
        return False

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Return new labels, from what the networks have learned so far; called in evaluation mode, without gradients.

        Args:
            cases: all training cases.
            step: the first step that uses the new labels.

        Returns:
            The labels that change; all others stay as they are.
        """
        return ()
