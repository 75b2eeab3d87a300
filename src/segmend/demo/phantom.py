"""Synthetic phantoms: a trunk with one organ to segment, and structures that look similar.

No threshold segments the organ: vessels and nodes have exactly its intensity, a bias field changes it from
place to place, and fat is brighter. Only its surroundings, size and shape distinguish it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder
from segmend.core.masks import Mask
from segmend.core.progress import track
from segmend.functional.morphology import largest_component

Field = NDArray[np.float32]
"""One number a voxel, ``[x, y, z]``; of a shape it is negative inside, 0 on the surface, positive outside."""

FAT, TISSUE, WALL, LUNG, BONE, CANAL = 0.95, 0.42, 0.30, 0.10, 0.26, 0.80
"""Signal of what is not the organ; nothing outside the body has any."""

_SCALE = 800
"""Number in the file for a signal of 1."""


def write_phantoms(
    root: Path,
    *,
    train: int = 20,
    test: int = 10,
    seed: int = 0,
    shape: Sequence[int] = (64, 64, 48),
    spacing: Sequence[float] = (1.5, 1.5, 2.0),
) -> None:
    """Writes a data folder of phantoms, all with their true labels (``organ`` = 1).

    A case depends on the seed and its name only, not on how many others there are.

    Args:
        root: the folder to write.
        train: training cases, named ``phantom_001`` and so on.
        test: test cases, numbered on from there.
        seed: of all chance, 0 or more.
        shape: voxels along x, y and z.
        spacing: mm from voxel to voxel.

    Raises:
        InputError: the folder already holds something, or an argument cannot be used.
    """
    if train < 1 or test < 0:
        raise InputError(
            "train, test", f"are {train} and {test}", "ask for one training case or more", code="invalid-value"
        )
    if len(shape) != 3 or min(shape) < 16 or len(spacing) != 3 or not min(spacing) > 0:
        raise InputError(
            "shape, spacing",
            f"are {shape} and {spacing}",
            "give 3 sides from 16 and 3 spacings in mm",
            code="invalid-value",
        )
    names = [f"phantom_{number:03d}" for number in range(1, train + test + 1)]
    description = {
        "name": "Segmend phantoms",
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": train,
        "file_ending": ".nii.gz",
    }
    with atomic_folder(root) as folder:
        (folder / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        for number, name in enumerate(track(names, "drawing phantoms")):
            rng = np.random.default_rng([seed, *name.encode()])
            image, label = draw_phantom(rng, shape, spacing)
            affine = _lying_patient(rng, shape, spacing)
            part = "Tr" if number < train else "Ts"
            _write(folder / f"images{part}" / f"{name}_0000.nii.gz", image, affine)
            _write(folder / f"labels{part}" / f"{name}.nii.gz", label, affine)


def draw_phantom(
    rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draws one phantom, x towards its left and y towards its back.

    Args:
        rng: all chance.
        shape: voxels along x, y and z.
        spacing: mm from voxel to voxel.

    Returns:
        The scan and its label (1 inside the organ, which is one piece), both ``[x, y, z]``.
    """
    scene = _Scene(rng, shape, spacing)
    return scene.image, scene.label


class _Scene:
    """One trunk. Lengths are in halves of the shortest side of the scan, with 0 in its middle."""

    def __init__(self, rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]) -> None:
        extent = np.multiply(shape, spacing)
        self.rng = rng
        self.voxel = 2 * np.array(spacing) / extent.min()
        axes = [(np.arange(side) + 0.5 - side / 2) * step for side, step in zip(shape, self.voxel, strict=True)]
        self.points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)
        self.half = extent / extent.min()
        self.body, self.rim = self._body(), rng.uniform(0.07, 0.12)
        self.spine = self._spine()
        organ = self._organ()
        self.label = organ.astype(np.uint8)
        signal = self._surroundings()
        blood = rng.uniform(0.66, 0.76)
        signal[self._look_alikes(organ)] = blood
        signal[ndimage.binary_dilation(organ)] = WALL
        signal[organ] = blood
        self.image = self._scanned(signal)

    def _body(self) -> Field:
        radii = np.array([0.92 * self.half[0], 0.80 * self.half[1], np.inf]) * self.rng.uniform(0.94, 1.0, 3)
        trunk: Field = self._ellipsoid((0, 0, 0), radii) + 0.02 * self._texture(0.5)
        return trunk

    def _spine(self) -> Field:
        """Vertebrae, thinner at the discs between them."""
        height = self.points[..., 2] * self.rng.uniform(11, 14) + self.rng.uniform(0, 6)
        vertebrae: Field = self._ellipsoid((0, 0.45, 0), (0.17, 0.13, np.inf)) - 0.12 * np.sin(height)
        return vertebrae

    def _organ(self) -> Mask:
        """A dented ellipsoid with a tapering vessel that leaves it sideways."""
        rng = self.rng
        self.centre = rng.uniform([-0.25, -0.30, -0.20], [0.25, 0.00, 0.20])
        self.radius = rng.uniform(0.34, 0.44)
        chamber = self._ellipsoid(self.centre, self.radius * rng.uniform(0.8, 1.2, 3))
        chamber += 0.12 * self._texture(0.8 * self.radius)
        angle, rise = rng.uniform(0, 2 * math.pi), rng.uniform(-0.4, 0.4)
        towards = np.array([math.cos(angle), math.sin(angle), rise])
        bend = np.array([-math.sin(angle), math.cos(angle), 0.0]) * rng.uniform(-0.6, 0.6)
        middle, end = self.centre + self.radius * towards, self.centre + 2 * self.radius * (towards + bend)
        vessel = self._tube(self.centre, middle, end, rng.uniform(0.13, 0.16), taper=0.5)
        room = (self.body < -self.rim - 0.05) & (self.spine > 0.15)
        largest: Mask = largest_component(((np.minimum(chamber, vessel) < 0) & room).astype(np.uint8)) > 0
        return largest

    def _look_alikes(self, organ: Mask) -> Mask:
        """A great vessel along the spine, another one somewhere, and nodes around the organ."""
        rng = self.rng
        top, side = self.half[2] + 0.2, rng.choice([-1, 1])
        found = self._tube((0.22 * side, 0.30, -top), (0.26 * side, 0.22, 0.0), (0.22 * side, 0.30, top), 0.13) < 0
        start, end = rng.uniform(-0.5, 0.5, (2, 3)) * [1, 0.8, 0] + [[0, 0, -top], [0, 0, top]]
        found |= self._tube(start, rng.uniform(-0.5, 0.5, 3), end, rng.uniform(0.08, 0.11)) < 0
        for _ in range(rng.integers(3, 6)):
            away = rng.normal(size=3)
            centre = self.centre + away / np.linalg.norm(away) * (self.radius + rng.uniform(0.1, 0.35))
            node = self._ellipsoid(centre, rng.uniform(0.10, 0.22) * rng.uniform(0.8, 1.2, 3))
            found |= node + 0.1 * self._texture(0.2) < 0
        # Other tissue separates them from the organ; otherwise its boundary would be invisible.
        room = (self.body < -self.rim - 0.05) & (self.spine > 0.1)
        found &= room & ~ndimage.binary_dilation(organ, iterations=2)
        return found

    def _surroundings(self) -> Field:
        """Air, fat, tissue, two lungs and a spine."""
        signal = np.where(self.body < 0, np.float32(FAT), np.float32(0))
        signal[self.body < -self.rim] = TISSUE
        signal += 0.03 * self._texture(0.1) * (self.body < 0)
        for side in (-1, 1):
            lung = self._ellipsoid((0.52 * side, 0.02, self.rng.uniform(0.2, 0.5)), (0.28, 0.46, 0.9))
            signal[(lung + 0.06 * self._texture(0.3) < 0) & (self.body < -self.rim - 0.04)] = LUNG
        signal[self.spine < 0] = BONE
        signal[self.spine < -0.25] = TISSUE + 0.15
        signal[self._ellipsoid((0, 0.62, 0), (0.06, 0.05, np.inf)) < 0] = CANAL
        return signal

    def _scanned(self, signal: Field) -> NDArray[np.int16]:
        """The scanned image: blurred over the voxels, with a bias field and Rician noise."""
        rng = self.rng
        seen = ndimage.gaussian_filter(signal, 0.6) * np.exp(0.10 * self._texture(0.9))
        noise = rng.normal(0, rng.uniform(0.05, 0.07), (2, *seen.shape))
        scan: NDArray[np.int16] = (_SCALE * np.hypot(seen + noise[0], noise[1])).astype(np.int16)
        return scan

    def _ellipsoid(self, centre: ArrayLike, radii: ArrayLike) -> Field:
        scaled = (self.points - _float32(centre)) / _float32(radii)
        field: Field = np.linalg.norm(scaled, axis=-1) - 1
        return field

    def _tube(self, start: ArrayLike, middle: ArrayLike, end: ArrayLike, radius: float, taper: float = 0.0) -> Field:
        """A tube along the quadratic Bezier curve of three points; at its end thinner by the share ``taper``."""
        nearest = np.full(self.points.shape[:-1], np.inf, dtype=np.float32)
        for t in np.linspace(0, 1, 25, dtype=np.float32):
            at = (1 - t) ** 2 * _float32(start) + 2 * t * (1 - t) * _float32(middle) + t**2 * _float32(end)
            distance = np.linalg.norm(self.points - at, axis=-1)
            np.minimum(nearest, distance - radius * (1 - taper * t), out=nearest)
        return nearest

    def _texture(self, size: float) -> Field:
        """A smooth random field of mean 0 and variance 1, with features of about this size."""
        noise = self.rng.standard_normal(self.points.shape[:-1], dtype=np.float32)
        spectrum = ndimage.fourier_gaussian(fft.rfftn(noise), size / 2 / self.voxel, n=noise.shape[-1])
        smooth = fft.irfftn(spectrum, noise.shape)
        field: Field = (smooth - smooth.mean()) / smooth.std()
        return field


def _float32(values: ArrayLike) -> Field:
    return np.asarray(values, dtype=np.float32)


def _lying_patient(rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Affine of a scan whose x runs to the left and y to the back, a little tilted, near the scanner's centre."""
    tilt, shift = np.radians(rng.uniform(-4, 4)), rng.uniform(-15, 15, 3)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ np.diag([-1.0, -1.0, 1.0]) * spacing
    affine[:3, 3] = shift - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _write(path: Path, array: NDArray[np.integer], affine: NDArray[np.float64]) -> None:
    path.parent.mkdir(exist_ok=True)
    nifti = nibabel.Nifti1Image(array, affine)
    nifti.set_sform(affine, code="scanner")
    nifti.set_qform(affine, code="scanner")
    nifti.header.set_xyzt_units("mm")
    nibabel.save(nifti, path)
