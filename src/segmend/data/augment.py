"""Random views of the training samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.functional.geometry import Compose, Flip, QuarterTurn, Rotation, Warp, Zoom


@dataclass(frozen=True)
class Augmentation:
    """How strongly training samples are augmented; every sample of a batch is augmented independently.

    The defaults suit several organs that must be distinguished by their position: small rotations, scaling and
    intensity changes, and no mirroring, which makes left and right the same to a network. Mirroring and quarter turns
    are used where there is a single foreground class, which they cannot confuse.

    Attributes:
        quarter_turns: turn by 0, 90, 180 or 270 degrees in the plane of the first two axes; by 0 or 180 if the plane is
            not square. By default only with a single foreground class.
        flips: mirror along one of the first two axes. By default only with a single foreground class.
        mirror: axes along which samples are mirrored, each with a probability of one half. Plans choose those along
            which no two classes keep their order.
        rotation: largest angle in degrees, in the plane of the first two axes, either way.
        zoom: largest relative change of size, the same along all axes, 0 to below 1.
        contrast: largest relative change of contrast about 0, the mean of a z-scored scan, 0 to below 1.
        brightness: largest shift, in standard deviations of the z-scored scan, either way.
        noise: largest standard deviation of the Gaussian noise, in the same unit.
    """

    quarter_turns: bool | None = None
    flips: bool | None = None
    mirror: Sequence[int] | None = None
    rotation: float = 15.0
    zoom: float = 0.15
    contrast: float = 0.2
    brightness: float = 0.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("rotation", "zoom", "contrast", "brightness", "noise"):
            value = getattr(self, name)
            below = 1 if name in ("zoom", "contrast") else np.inf
            if not 0 <= value < below:
                limits = "from 0 to below 1" if below == 1 else "that is 0 or more"
                raise InputError(
                    f"augmentation.{name}", f"{value} is not usable", f"give a number {limits}", code="invalid-value"
                )

    def for_classes(self, classes: int) -> Augmentation:
        """The same, with mirroring and quarter turns decided where they are left open.

        Args:
            classes: number of classes, background included; with two, mirroring confuses nothing.
        """
        single = classes == 2
        return replace(
            self,
            quarter_turns=single if self.quarter_turns is None else self.quarter_turns,
            flips=single if self.flips is None else self.flips,
        )

    def draw(self, rng: np.random.Generator, count: int, shape: Sequence[int]) -> Warp:
        """Draw the geometric transform of a batch.

        Args:
            rng: the only source of chance.
            count: number of samples.
            shape: of one sample, spatial axes only.
        """
        dimensions = len(shape)
        warps: list[Warp] = []
        if self.quarter_turns:
            step = 1 if shape[0] == shape[1] else 2
            warps.append(QuarterTurn(torch.from_numpy(rng.integers(4 // step, size=count) * step), dimensions))
        axes = np.zeros((count, dimensions), dtype=bool)
        if self.flips:
            axes[np.arange(count), rng.integers(2, size=count)] = True
        if self.mirror:
            axes[:, list(self.mirror)] ^= rng.integers(2, size=(count, len(self.mirror))).astype(bool)
        warps.append(Flip(torch.from_numpy(axes)))
        if self.rotation:
            degrees = rng.uniform(-self.rotation, self.rotation, count)
            warps.append(Rotation(torch.from_numpy(degrees), dimensions))
        if self.zoom:
            warps.append(Zoom(torch.from_numpy(_factors(rng, self.zoom, (count, 1))), dimensions))
        return Compose(tuple(warps))

    def apply(self, image: Tensor, label: Tensor, warp: Warp, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Warp a batch and vary its intensities.

        Args:
            image: ``[B, channels, *spatial]``, z-scored.
            label: ``[B, *spatial]`` class indices.
            warp: from ``draw``.
            rng: the only source of chance; not used if no intensity is to be varied.

        Returns:
            The new image and label; where they come from outside the given ones, 0 and ``IGNORE``.
        """
        label = warp(label, mode="nearest", fill=IGNORE)
        image = warp(image)
        per_channel = (*image.shape[:2], *[1] * (image.ndim - 2))
        if self.contrast:
            image = image * torch.from_numpy(_factors(rng, self.contrast, per_channel)).to(image)
        if self.brightness:
            image = image + torch.from_numpy(rng.uniform(-self.brightness, self.brightness, per_channel)).to(image)
        if self.noise:
            deviation = rng.uniform(0, self.noise, (len(image), *[1] * (image.ndim - 1)))
            field = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
            image = image + field.to(image) * torch.from_numpy(deviation).to(image)
        if self.brightness or self.noise:
            image = image.where(warp.inside(image.shape[2:], image.device).unsqueeze(1), 0)
        return image, label


NO_AUGMENTATION = Augmentation(quarter_turns=False, flips=False, rotation=0.0, zoom=0.0, contrast=0.0, noise=0.0)
"""Samples as they are."""

LEFT_ATRIUM_PROTOCOL = replace(NO_AUGMENTATION, quarter_turns=True, flips=True)
"""Augmentation in the left-atrium literature (UA-MT, Yu et al., MICCAI 2019): a random quarter turn, then one flip."""


def _factors(rng: np.random.Generator, change: float, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Factors in 1 - change .. 1 + change, uniform in their logarithm."""
    return np.exp(rng.uniform(np.log1p(-change), np.log1p(change), size))
