"""The surfaces of a label, each over- or under-segmented by one offset, and the label with these surfaces shifted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.profile import directions

SurfaceKind = tuple[int, int | None]
"""The kind of a surface: the class within it and the class beyond it; None if the latter does not matter."""
_BETWEEN_SLICES_MM = 1e4
"""Assumed distance of slices that were annotated one by one: farther than any offset, so that each is shifted alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A surface of a given label that is shifted by one offset.

    Attributes:
        kind: the class within it, and the class beyond it; None if that does not matter.
        mask: ``[*spatial]`` boolean, where the label has the class.
        distance: ``[*spatial]`` signed distance to the surface of the class in mm, negative inside.
        counted: ``[*spatial]`` boolean, the annotated voxels that belong to this surface.
    """

    kind: SurfaceKind
    mask: Tensor
    distance: Tensor
    counted: Tensor

    @property
    def cls(self) -> int:
        """The class within it."""
        return self.kind[0]


def surfaces_of(
    label: Tensor,
    classes: Iterable[int],
    spacing: Sequence[float],
    *,
    sliced: bool = False,
    by_neighbour: bool = False,
) -> Iterator[Surface]:
    """Find the surfaces of the classes in a label; each is shifted by one offset.

    Args:
        label: ``[*spatial]`` class indices, or ``IGNORE``.
        classes: the foreground classes to look for.
        spacing: mm from voxel to voxel along each axis.
        sliced: the label was annotated in slices, which lie along its last axis: surfaces move within slices only.
        by_neighbour: a class has a surface for each class it borders on, background included: a voxel belongs to the
            surface whose class is nearest. Otherwise it has one surface.
    """
    annotated = label != IGNORE
    present = [cls for cls in classes if (label == cls).any()]
    if not by_neighbour:
        for cls in present:
            yield Surface((cls, None), label == cls, distance_to(label == cls, spacing, sliced=sliced), annotated)
        return
    distances = {cls: distance_to(label == cls, spacing, sliced=sliced) for cls in (0, *present)}
    for cls in present:
        others = [other for other in (0, *present) if other != cls]
        nearest = torch.stack([distances[other] for other in others]).argmin(0)
        for at, other in enumerate(others):
            near = nearest == at
            if (near & (label == cls)).any():
                yield Surface((cls, other), label == cls, distances[cls], near & annotated)


def shift_surfaces(
    label: Tensor,
    offsets: Mapping[SurfaceKind, float | Sequence[float]],
    spacing: Sequence[float],
    *,
    sliced: bool = False,
    by_neighbour: bool = False,
) -> Tensor:
    """Shift the surfaces of a label, each by its own offset; see ``assign_deepest`` for where they meet.

    Args:
        label: ``[*spatial]`` uint8 class indices; ``IGNORE`` is kept.
        offsets: in mm, outward positive, by kind of surface; surfaces that it does not contain stay. A sequence has the
            offsets of the two sides of each axis, in the order of ``directions``; these are joined smoothly.
        spacing: mm from voxel to voxel along each axis.
        sliced: as of ``surfaces_of``.
        by_neighbour: as of ``surfaces_of``.

    Returns:
        ``[*spatial]`` uint8.
    """
    foreground = (label > 0) & (label != IGNORE)
    if not foreground.any():
        return label.clone()
    classes = int(label[foreground].max())
    distances = torch.full((classes, *label.shape), torch.inf)
    shifts = torch.zeros_like(distances)
    for surface in surfaces_of(label, range(1, classes + 1), spacing, sliced=sliced, by_neighbour=by_neighbour):
        at = surface.cls - 1
        distances[at] = surface.distance
        shift = _shift_at_each_voxel(offsets.get(surface.kind, 0.0), surface.mask, spacing)
        shifts[at] = shift.where(surface.counted, shifts[at])
    return assign_deepest(distances, distance_to(foreground, spacing, sliced=sliced), shifts, label)


def assign_deepest(distances: Tensor, outline: Tensor, offsets: Tensor, label: Tensor) -> Tensor:
    """Assign each voxel to the class that it lies deepest in, once the surfaces of all classes have been shifted.

    Where two classes meet, the border between them runs where both surfaces have moved by the same distance. Only the
    outline of all classes together borders on the background, so that classes that shrink equally leave no gap between
    them.

    Args:
        distances: ``[C - 1, *spatial]`` signed distances of the foreground classes.
        outline: ``[*spatial]`` signed distance of all of them together.
        offsets: ``[C - 1]`` or ``[C - 1, *spatial]``, in mm.
        label: ``[*spatial]`` the given class indices; ``IGNORE`` is kept.

    Returns:
        ``[*spatial]`` uint8.
    """
    offsets = offsets.view(*offsets.shape, *[1] * (distances.ndim - offsets.ndim)).expand_as(distances)
    deepest = (offsets - distances).argmax(0, keepdim=True)
    inside = outline < offsets.gather(0, deepest)[0]
    return torch.where(inside, deepest[0] + 1, 0).where(label != IGNORE, IGNORE).to(torch.uint8)


def distance_to(mask: Tensor, spacing: Sequence[float], *, sliced: bool = False) -> Tensor:
    """Signed distance ``[*spatial]`` to the surface of a mask in mm, negative inside; if sliced, within each slice."""
    if sliced:
        spacing = (*spacing[:-1], _BETWEEN_SLICES_MM)
    return torch.from_numpy(signed_distance(mask.numpy(), spacing))


def _shift_at_each_voxel(offset: float | Sequence[float], mask: Tensor, spacing: Sequence[float]) -> Tensor:
    """The shift in mm: a scalar, or ``[*spatial]`` if each side has its own offset."""
    shift = torch.tensor(offset)
    return torch.einsum("k,k...->...", shift, directions(mask, spacing)) if shift.ndim else shift
