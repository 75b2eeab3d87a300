"""Scans for golden runs, by whole numbers only: the same on every machine, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

SPACING = (1.0, 1.0, 1.5)
VALUES = {"background": 0, "organ": 1, "core": 2}
EXPERT, NOISY, UNLABELLED, VALIDATION, TEST = ("a1", "a2", "a3"), ("b1", "b2", "b3"), ("c1", "c2"), ("v1",), ("t1",)


def scan(shape: Sequence[int], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A bright organ with a brighter core in noise, and its label."""
    random = np.random.default_rng(seed)
    middle = [side // 2 + int(random.integers(-2, 3)) for side in shape]
    radii = [side // 3 + int(random.integers(-1, 2)) for side in shape]
    organ, core = (_ellipsoid(shape, middle, [radius * part // 3 for radius in radii]) for part in (3, 2))
    label = organ.astype(np.uint8) + core
    image = 60 + 45 * label.astype(np.int64) + random.integers(-25, 26, shape)
    return image.astype(np.uint8), label


def redrawn(label: NDArray[np.uint8], way: int) -> NDArray[np.uint8]:
    """A label as another annotator might draw it: wider, tighter, or shifted by a voxel."""
    wider, tighter = label.copy(), label.copy()
    for axis in range(label.ndim):
        for step in (-1, 1):
            neighbour = np.roll(label, step, axis)
            wider, tighter = np.maximum(wider, neighbour), np.minimum(tighter, neighbour)
    return (wider, tighter, np.roll(label, 1, 0))[way % 3]


def badly_drawn(label: NDArray[np.uint8], case: str) -> NDArray[np.uint8]:
    """The label of a case: of noisy ones much wider, wider, or tighter; of others as it is."""
    ways = {NOISY[0]: (0, 0), NOISY[1]: (0, 0), NOISY[2]: (1,)}.get(case, ())
    for way in ways:
        label = redrawn(label, way)
    return label


def probabilities(label: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """What a decent model might say of a scan with this label, ``[classes, *spatial]``."""
    random = np.random.default_rng(seed)
    votes = random.integers(1, 40, (len(VALUES), *label.shape)).astype(np.int64)
    for index in range(len(VALUES)):
        votes[index] += 100 * (label == index)
        votes[index] += 60 * (redrawn(label, 0) == index)
    return (votes / votes.sum(0)).astype(np.float32)


def write_folder(root: Path, shape: Sequence[int], *, channels: int = 1, spoil: bool = False) -> Path:
    """Writes a data folder: expert, noisy, unlabelled, validation and test cases.

    Args:
        root: the folder to write.
        shape: of all scans.
        channels: number of them; each further one is the scan in negative.
        spoil: draws two of the labels badly, and leaves out the unlabelled cases.
    """
    training = [*EXPERT, *NOISY, *(() if spoil else UNLABELLED), *VALIDATION]
    rows = ["case,split,quality,annotator"]
    for number, case in enumerate([*training, *TEST]):
        image, label = scan(shape, number)
        part = "Ts" if case in TEST else "Tr"
        drawn = badly_drawn(label, case)
        if spoil and case == NOISY[0]:
            drawn = label.copy()
            drawn[..., : shape[-1] // 2] = 0  # half of the slices were not drawn
        if spoil and case == NOISY[1]:
            drawn = redrawn(redrawn(label, 0), 0)
        for channel in range(channels):
            seen = 255 - image if channel else image
            _write(root / f"images{part}" / f"{case}_{channel:04d}.nii.gz", seen)
        if case not in UNLABELLED:
            _write(root / f"labels{part}" / f"{case}.nii.gz", drawn)
        if case in NOISY:
            _write(root / "labelsTr_clean" / f"{case}.nii.gz", label)
        split = "test" if case in TEST else "val" if case in VALIDATION else "train"
        quality = "none" if case in UNLABELLED else "noisy" if case in NOISY else "expert"
        rows.append(f"{case},{split},{quality},{'ann' if case in NOISY[:2] else ''}")
    names = {str(channel): f"MR{channel}" for channel in range(channels)}
    description: dict[str, Any] = {"channel_names": names, "labels": VALUES, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    (root / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def write_probabilities(root: Path, shape: Sequence[int]) -> Path:
    """Writes probabilities of the labelled cases of such a folder, by their true labels."""
    root.mkdir()
    for number, case in enumerate([*EXPERT, *NOISY]):
        _, label = scan(shape, number)
        packed = np.transpose(probabilities(label, number), (0, *range(label.ndim, 0, -1)))
        np.savez(root / f"{case}.npz", probabilities=packed)
    return root


def _ellipsoid(shape: Sequence[int], middle: Sequence[int], radii: Sequence[int]) -> NDArray[np.bool_]:
    grid = np.indices(tuple(shape), dtype=np.int64)
    whole = int(np.prod([radius**2 for radius in radii]))
    apart = sum((axis - at) ** 2 * (whole // radius**2) for axis, at, radius in zip(grid, middle, radii, strict=True))
    return np.asarray(apart) < whole


def _write(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*SPACING, 1.0])
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
