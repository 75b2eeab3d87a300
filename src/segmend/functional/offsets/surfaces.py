"""The surfaces of a label, each over- or under-segmented by one offset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.profile import moved


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A surface of a given label that is shifted by one offset.

    Attributes:
        cls: the class within it.
        neighbour: the class beyond it; None if that does not matter.
        mask: ``[*spatial]`` boolean, where the label has the class.
        distance: ``[*spatial]`` signed distance to the surface of the class in mm, negative inside.
        near: ``[*spatial]`` boolean, voxels that belong to this part of it.
    """

    cls: int
    neighbour: int | None
    mask: Tensor
    distance: Tensor
    near: Tensor


def surfaces_of(
    label: Tensor, classes: Iterable[int], spacing: Sequence[float], *, by_neighbour: bool = False
) -> Iterator[Surface]:
    """Find the surfaces of the classes in a label; each is shifted by one offset.

    Args:
        label: ``[*spatial]`` class indices.
        classes: the foreground classes to look for.
        spacing: mm from voxel to voxel along each axis.
        by_neighbour: a class has a surface for each class it borders on, background included: a voxel belongs to the
            surface whose class is nearest. Otherwise it has one surface.
    """
    present = [cls for cls in classes if (label == cls).any()]
    if not by_neighbour:
        everywhere = torch.ones_like(label, dtype=torch.bool)
        for cls in present:
            yield Surface(cls, None, label == cls, distance_to(label == cls, spacing), everywhere)
        return
    distances = {cls: distance_to(label == cls, spacing) for cls in (0, *present)}
    for cls in present:
        others = [other for other in (0, *present) if other != cls]
        nearest = torch.stack([distances[other] for other in others]).argmin(0)
        for at, other in enumerate(others):
            near = nearest == at
            if (near & (label == cls)).any():
                yield Surface(cls, other, label == cls, distances[cls], near)


def with_moved_surfaces(
    label: Tensor,
    offset_of: Callable[[Surface], Tensor],
    classes: int,
    spacing: Sequence[float],
    *,
    by_neighbour: bool = False,
) -> Tensor:
    """Shift the surfaces of a label, each by its own offset; see ``moved`` for where they meet.

    Args:
        label: ``[*spatial]`` the given class indices; ``IGNORE`` is kept.
        offset_of: what a surface is shifted by in mm, outward positive: one number, or ``[*spatial]``.
        classes: foreground classes.
        spacing: mm from voxel to voxel along each axis.
        by_neighbour: as of ``surfaces_of``.

    Returns:
        ``[*spatial]`` uint8.
    """
    distances = torch.full((classes, *label.shape), torch.inf)
    offsets = torch.zeros_like(distances)
    for surface in surfaces_of(label, range(1, classes + 1), spacing, by_neighbour=by_neighbour):
        at = surface.cls - 1
        distances[at] = surface.distance
        offsets[at] = offset_of(surface).where(surface.near, offsets[at])
    return moved(distances, distance_to((label > 0) & (label != IGNORE), spacing), offsets, label)


def distance_to(mask: Tensor, spacing: Sequence[float]) -> Tensor:
    """Signed distance ``[*spatial]`` to the surface of a mask in mm, negative inside."""
    return torch.from_numpy(signed_distance(mask.numpy(), spacing))
