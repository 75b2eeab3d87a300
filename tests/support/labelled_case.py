"""Training cases in memory, as a method that revises labels sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from segmend.core.case import Quality
from segmend.methods import LabelledCase, Revision


@dataclass
class CaseInMemory:
    """A case whose image, ``[channels, *spatial]``, functions are given as a whole, or slice by slice.

    Attributes:
        layers, maps, values: what was revised so far, by name.
        asked: number of channels of what each function returned.
    """

    name: str
    image: Tensor
    given: Tensor
    quality: Quality = Quality.NOISY
    sliced: bool = False
    annotator: str = ""
    spacing: tuple[float, ...] = (1.0, 1.0)
    layers: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, float | Sequence[float]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    images, from_images = LabelledCase.images, LabelledCase.from_images

    def layer(self, name: str) -> Tensor:
        return self.layers.get(name, self.given)

    def map(self, name: str) -> Tensor:
        return self.maps.get(name, torch.full(self.given.shape, -1))

    def was_revised(self, name: str) -> bool:
        return name in self.layers or name in self.maps

    def predict_map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        found = function(self.images(self.image)).float()
        self.asked.append(found.shape[1])
        return self.from_images(found)


def take(revisions: Iterable[Revision], cases: Iterable[CaseInMemory]) -> set[tuple[str, str]]:
    """Take all revisions into their cases at once, as a run does; returns the pairs of case and name revised."""
    by_name, revised = {case.name: case for case in cases}, set()
    for revision in list(revisions):
        case = by_name[revision.case]
        assert all(label.dtype == torch.uint8 for label in revision.labels.values())
        assert not any(numbers.is_floating_point() for numbers in revision.maps.values())
        assert all(array.shape == case.given.shape for array in (revision.labels | revision.maps).values())
        case.layers |= revision.labels
        case.maps |= revision.maps
        case.values |= revision.values
        revised |= {(case.name, name) for name in (*revision.labels, *revision.maps, *revision.values)}
    return revised
