"""Random views of the training samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.functional.geometry import Compose, Flip, QuarterTurn, Rotation, Warp, Zoom
from segmend.functional.intensity import blur, change_gamma, lower_resolution

PROBABILITIES = {
    **{"rotation": 0.2, "zoom": 0.2, "gamma": 0.3, "blur": 0.1, "low_resolution": 0.125},
    **{"contrast": 0.3, "brightness": 0.15, "noise": 0.1},
}
"""How often each change is made where it is occasional: as in nnU-Net 2 (Isensee et al., Nature Methods 2021, and its
default trainer), for each sample; blur and low resolution for each channel of each sample. Contrast stands for two
changes there, of 0.15 each: the product with a factor, and that about the mean of the crop."""

_INVERTED = 1 / 3
"""Fraction of the changes of gamma that are made on the negative image."""

_THICK = 3
"""Factor by which a patch must be longer than it has slices, for its slices to count as thick; as in nnU-Net."""


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
        gamma: largest relative change of the exponent that intensities, scaled to 0..1, are raised to, 0 to below 1. A
            third of the changes is made on the negative image. Mean and standard deviation are restored. Like the
            following, only if asked for or planned.
        blur: largest standard deviation of a Gaussian blur in voxels, for each channel.
        low_resolution: largest factor, at least 1, by which the number of voxels along an axis is reduced before they
            are interpolated again, for each channel.
        tilt: largest angle in degrees, in the two other planes of a volume, either way.
        across_slices: whether tilt, blur and low resolution reach across the last axis of a volume. By default unless
            the patch is more than three times as long as it has slices.
        occasional: make each change to some samples only, as often as nnU-Net does, and not to every sample.
    """

    quarter_turns: bool | None = None
    flips: bool | None = None
    mirror: Sequence[int] | None = None
    rotation: float = 15.0
    zoom: float = 0.15
    contrast: float = 0.2
    brightness: float = 0.0
    noise: float = 0.1
    gamma: float | None = None
    blur: float | None = None
    low_resolution: float | None = None
    tilt: float | None = None
    across_slices: bool | None = None
    occasional: bool | None = None

    def __post_init__(self) -> None:
        for name in ("rotation", "zoom", "contrast", "brightness", "noise", "gamma", "blur", "low_resolution", "tilt"):
            value = getattr(self, name) or 0.0
            below = 1 if name in ("zoom", "contrast", "gamma") else np.inf
            if not 0 <= value < below or (name == "low_resolution" and 0 < value < 1):
                limits = "from 0 to below 1" if below == 1 else "that is 0 or more"
                if name == "low_resolution":
                    limits = "that is 0 or at least 1"
                raise InputError(
                    f"augmentation.{name}", f"{value} is not usable", f"give a number {limits}", code="invalid-value"
                )

    @property
    def strengths(self) -> dict[str, Any]:
        """All arguments that are stated, but for those of mirroring and quarter turns, which depend on the classes."""
        left_out = {"quarter_turns", "flips", "mirror"}
        return {name: value for name, value in asdict(self).items() if name not in left_out and value is not None}

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
        tilt = self.tilt if self.tilt and dimensions == 3 and self._reaches_across(shape) else 0.0
        turned = self._chosen(rng, "rotation", (count,)) if self.rotation or tilt else np.zeros(count, dtype=bool)
        for plane, limit in (((0, 1), self.rotation), ((0, 2), tilt), ((1, 2), tilt)):
            if limit:
                degrees = np.where(turned, rng.uniform(-limit, limit, count), 0)
                warps.append(Rotation(torch.from_numpy(degrees), dimensions, plane))
        if self.zoom:
            zoomed = self._chosen(rng, "zoom", (count, 1))
            factors = np.where(zoomed, _factors(rng, self.zoom, (count, 1)), 1)
            warps.append(Zoom(torch.from_numpy(factors), dimensions))
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
        # Before the warp, so that what it fills never mixes with the image.
        image = warp(self._sampled_otherwise(image, rng))
        per_channel, per_sample = (*image.shape[:2], *[1] * (image.ndim - 2)), (len(image), *[1] * (image.ndim - 1))
        if self.contrast:
            chosen = self._chosen(rng, "contrast", per_sample)
            factors = np.where(chosen, _factors(rng, self.contrast, per_channel), 1)
            image = image * torch.from_numpy(factors).to(image)
        if self.brightness:
            chosen = self._chosen(rng, "brightness", per_sample)
            shifts = np.where(chosen, rng.uniform(-self.brightness, self.brightness, per_channel), 0)
            image = image + torch.from_numpy(shifts).to(image)
        if self.noise:
            image = self._noisy(image, rng, self._chosen(rng, "noise", (len(image),)))
        if self.brightness or self.noise:
            image = image.where(warp.inside(image.shape[2:], image.device).unsqueeze(1), 0)
        return image, label

    def _noisy(self, image: Tensor, rng: np.random.Generator, chosen: NDArray[np.bool_]) -> Tensor:
        """Add noise to the chosen samples; for the others none is drawn."""
        deviation = rng.uniform(0, self.noise, (len(image), *[1] * (image.ndim - 1)))
        rows = np.flatnonzero(chosen)
        field = torch.from_numpy(rng.standard_normal((len(rows), *image.shape[1:]), dtype=np.float32))
        noise = field.to(image) * torch.from_numpy(deviation[rows]).to(image)
        if len(rows) == len(image):
            return image + noise
        return image.index_add(0, torch.from_numpy(rows).to(image.device), noise)

    def _sampled_otherwise(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Change the tone curve of a batch and the resolution that it was recorded at."""
        shape, channels = image.shape[2:], tuple(image.shape[:2])
        axes = range(len(shape) if len(shape) == 2 or self._reaches_across(shape) else 2)
        if self.gamma:
            chosen = self._chosen(rng, "gamma", (len(image), 1))
            exponents = np.where(chosen, _factors(rng, self.gamma, channels), 1)
            inverted = np.broadcast_to(rng.random((len(image), 1)) < _INVERTED, channels).copy()
            image = change_gamma(image, torch.from_numpy(exponents), torch.from_numpy(inverted))
        if self.blur:
            chosen = self._chosen(rng, "blur", channels)
            image = blur(image, torch.from_numpy(np.where(chosen, rng.uniform(0, self.blur, channels), 0)), axes)
        if self.low_resolution:
            chosen = self._chosen(rng, "low_resolution", channels)
            factors = np.where(chosen, rng.uniform(1, self.low_resolution, channels), 1)
            image = lower_resolution(image, torch.from_numpy(factors), axes)
        return image

    def _chosen(self, rng: np.random.Generator, change: str, size: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which samples, or channels of them, a change is made to."""
        if not self.occasional:
            return np.ones(size, dtype=bool)
        chosen: NDArray[np.bool_] = rng.random(size) < PROBABILITIES[change]
        return chosen

    def _reaches_across(self, shape: Sequence[int]) -> bool:
        """Whether slices are thin enough for changes to reach from one to the next."""
        return max(shape) <= _THICK * shape[-1] if self.across_slices is None else self.across_slices


NO_AUGMENTATION = Augmentation(quarter_turns=False, flips=False, rotation=0.0, zoom=0.0, contrast=0.0, noise=0.0)
"""Samples as they are."""

LEFT_ATRIUM_PROTOCOL = replace(NO_AUGMENTATION, quarter_turns=True, flips=True)
"""Augmentation in the left-atrium literature (UA-MT, Yu et al., MICCAI 2019): a random quarter turn, then one flip."""

PLANNED = Augmentation(
    quarter_turns=False,
    flips=False,
    rotation=30.0,
    tilt=30.0,
    zoom=0.3,
    contrast=0.25,
    noise=0.3,
    gamma=0.3,
    blur=1.5,
    low_resolution=2.0,
    occasional=True,
)
"""What a plan takes: the changes that nnU-Net makes, about as strong and as often."""


def _factors(rng: np.random.Generator, change: float, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Factors in 1 - change .. 1 + change, uniform in their logarithm."""
    return np.exp(rng.uniform(np.log1p(-change), np.log1p(change), size))
