"""The warps: the parameters for each sample, chosen separately from applying them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import torch
from torch import Tensor

from segmend.functional.geometry.sampling import Mode, is_inside, resample


class Warp(ABC):
    """A linear map about the centre of the image, one per sample of a batch.

    Spatial axes are counted from 0. The parameters stay on the CPU; what is warped may be anywhere.
    """

    @property
    def exact(self) -> bool:
        """Whether voxels only change their positions, so that nothing is interpolated or lost."""
        return False

    @abstractmethod
    def inverse(self) -> Warp:
        """The inverse warp (up to interpolation and the field of view, if not exact)."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """The map from output to input, in voxels from the centre: ``[B, dimensions, dimensions]`` float64."""

    def __call__(self, x: Tensor, mode: Mode = "linear", fill: float = 0.0) -> Tensor:
        """Warp a batch; differentiable.

        Args:
            x: ``[B, C, *spatial]``, or labels ``[B, *spatial]``.
            mode: "linear" for images and probabilities, "nearest" for labels; exact warps need neither.
            fill: value of voxels that come from outside the image.

        Returns:
            Shape, dtype and device of ``x``.

        Raises:
            ValueError: the batch does not fit the warp, or integers would be interpolated.
        """
        self.check(x.shape)
        return resample(x, self.matrix(), mode, fill)

    def inside(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Which voxels of the output come from inside the image, that is, are not filled.

        Args:
            shape: of the image, spatial axes only.
            device: where the result is wanted.

        Returns:
            Boolean ``[B, *spatial]``.
        """
        matrix = self.matrix()
        if self.exact:
            return torch.ones(len(matrix), *shape, dtype=torch.bool, device=device)
        return is_inside(matrix, shape, device)

    def check(self, shape: Sequence[int]) -> None:
        """Raise ValueError unless a batch of this shape can be warped."""
        count, dimensions, _ = self.matrix().shape
        if len(shape) - dimensions not in (1, 2):
            raise ValueError(f"a warp in {dimensions}D got a batch of shape {tuple(shape)}")
        if shape[0] != count:
            raise ValueError(f"a warp of {count} samples got a batch of {shape[0]}")


class _Exact(Warp):
    """Move whole voxels, so that every dtype is preserved bit by bit."""

    @property
    def exact(self) -> bool:
        return True

    @abstractmethod
    def _moved(self, item: Tensor, row: int) -> Tensor:
        """One sample, with or without channels."""

    def __call__(self, x: Tensor, mode: Mode = "linear", fill: float = 0.0) -> Tensor:
        self.check(x.shape)
        return torch.stack([self._moved(item, row) for row, item in enumerate(x)])


@dataclass(frozen=True, eq=False)
class Flip(_Exact):
    """Mirrors each sample along some of its axes.

    Attributes:
        axes: boolean ``[B, dimensions]``: the axes to mirror.
    """

    axes: Tensor

    def __post_init__(self) -> None:
        if self.axes.dtype != torch.bool or self.axes.ndim != 2:
            raise ValueError(f"axes must be boolean [B, dimensions], not {self.axes.dtype} {tuple(self.axes.shape)}")

    def inverse(self) -> Flip:
        """Itself."""
        return self

    def matrix(self) -> Tensor:
        """Diagonal, -1 for a mirrored axis."""
        return torch.diag_embed(1 - 2 * self.axes.double())

    def _moved(self, item: Tensor, row: int) -> Tensor:
        chosen = self.axes[row].tolist()
        return item.flip([axis - len(chosen) for axis, mirrored in enumerate(chosen) if mirrored])


@dataclass(frozen=True, eq=False)
class QuarterTurn(_Exact):
    """Rotates each sample by multiples of 90 degrees, in the direction of ``numpy.rot90``.

    Attributes:
        turns: integer ``[B]``: quarter turns from the first towards the second axis of the plane. Odd
            numbers need a square plane.
        dimensions: number of spatial axes.
        plane: the two spatial axes that are turned.
    """

    turns: Tensor
    dimensions: int
    plane: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if self.turns.is_floating_point() or self.turns.ndim != 1:
            raise ValueError(f"turns must be integer [B], not {self.turns.dtype} {tuple(self.turns.shape)}")
        _check_plane(self.plane, self.dimensions)

    def inverse(self) -> QuarterTurn:
        """The same number of turns backwards."""
        return replace(self, turns=-self.turns)

    def matrix(self) -> Tensor:
        """The turn backwards, in whole numbers."""
        steps = self.turns % 4
        cos, sin = torch.tensor([[1.0, 0, -1, 0], [0, 1, 0, -1]], dtype=torch.float64)[:, steps]
        return _backwards(cos, sin, self.dimensions, self.plane)

    def check(self, shape: Sequence[int]) -> None:
        """Raise ValueError unless a batch of this shape can be warped; its plane must be square for odd turns."""
        super().check(shape)
        first, second = (shape[axis - self.dimensions] for axis in self.plane)
        if first != second and (self.turns % 2).any():
            raise ValueError(
                f"an odd number of quarter turns needs a square plane, but axes {self.plane} are {first} x {second}"
            )

    def _moved(self, item: Tensor, row: int) -> Tensor:
        first, second = (axis - self.dimensions for axis in self.plane)
        return item.rot90(int(self.turns[row]), (first, second))


@dataclass(frozen=True, eq=False)
class Rotation(Warp):
    """Rotates each sample about the centre of the image by any angle.

    Attributes:
        degrees: ``[B]``: angle from the first towards the second axis of the plane.
        dimensions: number of spatial axes.
        plane: the two spatial axes that are turned.
        spacing: ``[dimensions]`` or ``[B, dimensions]`` in mm, to turn in mm instead of voxels.
    """

    degrees: Tensor
    dimensions: int
    plane: tuple[int, int] = (0, 1)
    spacing: Tensor | None = None

    def __post_init__(self) -> None:
        if self.degrees.ndim != 1:
            raise ValueError(f"degrees must be [B], not {tuple(self.degrees.shape)}")
        if self.spacing is not None and not (self.spacing > 0).all():
            raise ValueError(f"spacing must be positive, not {self.spacing.tolist()}")
        _check_plane(self.plane, self.dimensions)

    def inverse(self) -> Rotation:
        """The same angle backwards."""
        return replace(self, degrees=-self.degrees)

    def matrix(self) -> Tensor:
        """The rotation backwards: voxels to mm, turn, mm to voxels."""
        angle = self.degrees.double().deg2rad()
        turn = _backwards(angle.cos(), angle.sin(), self.dimensions, self.plane)
        if self.spacing is None:
            return turn
        spacing = self.spacing.double().expand(len(turn), self.dimensions)
        return turn * spacing.unsqueeze(1) / spacing.unsqueeze(2)


@dataclass(frozen=True, eq=False)
class Zoom(Warp):
    """Enlarges each sample about the centre of the image.

    Attributes:
        factors: ``[B, dimensions]``, or ``[B, 1]`` for all axes together; above 1 objects grow.
        dimensions: number of spatial axes.
    """

    factors: Tensor
    dimensions: int

    def __post_init__(self) -> None:
        if self.factors.ndim != 2 or self.factors.shape[1] not in (1, self.dimensions):
            raise ValueError(f"factors must be [B, 1] or [B, {self.dimensions}], not {tuple(self.factors.shape)}")
        if not (self.factors > 0).all():
            raise ValueError(f"zoom factors must be positive, not {self.factors.tolist()}")

    def inverse(self) -> Zoom:
        """The reciprocal factors."""
        return replace(self, factors=1 / self.factors)

    def matrix(self) -> Tensor:
        """Diagonal, the reciprocal factors."""
        return torch.diag_embed((1 / self.factors.double()).expand(-1, self.dimensions))


@dataclass(frozen=True, eq=False)
class Compose(Warp):
    """Several warps, one after the other.

    As soon as one of them is not exact, all of them become one map and the image is interpolated once:
    what an earlier warp pushes out of the image, a later one may bring back.

    Attributes:
        warps: in the order in which they are applied, at least one.
    """

    warps: tuple[Warp, ...]

    def __post_init__(self) -> None:
        sizes = {tuple(warp.matrix().shape[:2]) for warp in self.warps}
        if len(sizes) != 1:
            raise ValueError(f"composed warps must agree in (samples, dimensions), not {sorted(sizes)}")

    @property
    def exact(self) -> bool:
        """Whether all warps are exact."""
        return all(warp.exact for warp in self.warps)

    def inverse(self) -> Compose:
        """The inverses, last one first."""
        return Compose(tuple(warp.inverse() for warp in reversed(self.warps)))

    def matrix(self) -> Tensor:
        """The product, which takes an output voxel back through the last warp first."""
        return self._product

    @cached_property
    def _product(self) -> Tensor:
        return reduce(torch.matmul, (warp.matrix() for warp in self.warps))

    def check(self, shape: Sequence[int]) -> None:
        """Raise ValueError unless every warp can be applied to a batch of this shape."""
        for warp in self.warps:
            warp.check(shape)

    def __call__(self, x: Tensor, mode: Mode = "linear", fill: float = 0.0) -> Tensor:
        """Warp a batch, see ``Warp``."""
        if not self.exact:
            return super().__call__(x, mode, fill)
        return reduce(lambda moved, warp: warp(moved), self.warps, x)


def _backwards(cos: Tensor, sin: Tensor, dimensions: int, plane: tuple[int, int]) -> Tensor:
    """The inverse of the rotation from the first towards the second axis of the plane."""
    first, second = plane
    matrix = torch.eye(dimensions, dtype=torch.float64).repeat(len(cos), 1, 1)
    matrix[:, first, first] = matrix[:, second, second] = cos
    matrix[:, first, second] = sin
    matrix[:, second, first] = -sin
    return matrix


def _check_plane(plane: tuple[int, int], dimensions: int) -> None:
    first, second = plane
    if first == second or not {first, second} <= set(range(dimensions)):
        raise ValueError(f"a plane in {dimensions}D is two different axes of 0..{dimensions - 1}, not {plane}")
