"""The interface between a method and the code that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.config import Configured
from segmend.functional.losses import probabilities
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

    def map(self, name: str) -> Tensor:
        """The newest map ``[*spatial]`` of this name; -1 everywhere if there is none."""

    def was_revised(self, name: str) -> bool:
        """Whether the layer or map was revised before."""

    def predict_map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function of images to the whole scan, window by window.

        Args:
            function: takes ``[B, channels, *spatial]`` to ``[B, K, *spatial]``, as ``Method.predict`` does.

        Returns:
            ``[K, *spatial]`` float32 on the CPU, windows averaged where they overlap.
        """

    def images(self, array: Tensor) -> Tensor:
        """Split an array of the case into those of the images that the network sees.

        Args:
            array: ``[..., *spatial]``: a label, or what ``predict_map`` returns.

        Returns:
            ``[images, ..., *spatial]``, to be iterated over: the slices of a sliced case, or the case itself.
        """
        return array.movedim(-1, 0) if self.sliced else array.unsqueeze(0)

    def from_images(self, arrays: Sequence[Tensor] | Tensor) -> Tensor:
        """Put the arrays of all images together again: ``images`` reversed."""
        return torch.stack(tuple(arrays), -1) if self.sliced else arrays[0]


@dataclass(frozen=True, slots=True)
class Revision:
    """What is revised of one case; all else of it stays as it was.

    Attributes:
        case: its name.
        labels: new labels by layer, each ``[*spatial]`` uint8 class indices or ``IGNORE``.
        maps: other arrays by name, each ``[*spatial]`` of an integer type, >= 0: superpixel numbers, for example.
        values: numbers by name, finite: one of the case, or one of each image that the network sees, in the order of
            ``LabelledCase.images``.
        report: rows for human readers; written to the CSV file that the method's ``report`` names.
        sampling_weight: how often the case is sampled from now on, >= 0, relative to 1 for the others; None means
            unset, that is, 1.
    """

    case: str
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    report: Sequence[Mapping[str, str | float]] = ()
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
        maps: names of the maps that its revisions hold; batches carry each of them.
        values: names of the values that its revisions hold; batches carry each of them.
        report: name of the CSV file in the run folder for the report of its revisions; "" without one.
        needs_initial_labels: before it starts, plain training on the other cases labels the unlabelled ones, which are
            noisy cases from then on.
    """

    kind: ClassVar[Kind]
    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    needs: Composition
    layers: ClassVar[tuple[str, ...]] = ()
    maps: ClassVar[tuple[str, ...]] = ()
    values: ClassVar[tuple[str, ...]] = ()
    report: ClassVar[str] = ""
    needs_initial_labels: ClassVar[bool] = False

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def keeps(cls) -> tuple[str, ...]:
        """Names of all that its revisions hold: layers, maps and values."""
        return (*cls.layers, *cls.maps, *cls.values)

    def takes_soft_labels(self) -> bool:
        """Whether ``loss`` learns from ``Batch.soft`` where that is there; by default from class labels only."""
        return False

    @abstractmethod
    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The weighted terms of the loss by name; the learner adds them up and logs each."""

    def predict(self, image: Tensor) -> Tensor:
        """Class probabilities ``[B, C, *spatial]`` of images ``[B, channels, *spatial]``."""
        return probabilities(self.network(image))

    def takes_class_sets(self) -> bool:
        """Whether its losses handle voxels whose class is known up to a set of possible ones only.

        The labels of cases that are annotated in part are completed by plain training for all other methods.
        """
        return False

    def after_step(self, step: Step) -> None:
        """Called after each optimiser step, when EMA teachers have followed their networks: updates memories."""

    def revises(self, step: Step) -> bool:
        """Whether labels are revised before this step. Depends on the step alone, so it is known in advance."""
        return False

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Return new labels, from what the networks have learned so far; called in evaluation mode, without gradients.

        Args:
            cases: all training cases.
            step: the first step that uses the new labels.

        Returns:
            What changes, asked for one by one, so that a single case need be in memory; all else stays as it is.
        """
        return ()
