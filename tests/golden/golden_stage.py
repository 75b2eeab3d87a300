"""What golden runs share: what they are, and their data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import golden_adapter as adapter
import golden_data as data

SHAPES = {3: (20, 24, 16), 2: (24, 20)}
PATCHES = {3: (16, 16, 16), 2: (16, 16)}
LARGE = {
    "large 3D": (32, 32, 32),
    "large 2D": (32, 32),
    "huge 3D": (64, 64, 64),
    "huge 2D": (64, 64),
}
"""Larger scans, of two channels, for networks that need them."""

NETWORK = ("UNet", {"width": 4, "stages": 4})
"""The network that methods are tried with; it names its features and its encoder."""

Result = dict[str, Any]
"""Digests by what they are of, and ``size``: numbers that other processors come close to."""


@dataclass(frozen=True)
class Golden:
    """A golden run.

    Attributes:
        name: ``KIND/NAME/...``.
        of: what its result depends on: ``engine``, ``audit``, ``planner``, or names of a method, a network and recipes.
        run: computes the result, in a folder of its own.
        portable: whether the result is the same on every processor.
        slow: whether it is left to ``make test-slow``.
    """

    name: str
    of: tuple[str, ...]
    run: Callable[[Stage, Path], Result]
    portable: bool = False
    slow: bool = False


class Stage:
    """The data of all golden runs, made when they are first needed.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: dict[str, adapter.Prepared] = {}
        self._schooled: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def volumes(self) -> Path:
        """A data folder of volumes."""
        return data.write_folder(self.root / "volumes", SHAPES[3])

    @cached_property
    def images(self) -> Path:
        """A data folder of 2D images."""
        return data.write_folder(self.root / "images", SHAPES[2])

    @cached_property
    def audited(self) -> Path:
        """A data folder of labelled volumes, two of the labels drawn badly."""
        return data.write_folder(self.root / "audited", SHAPES[3], spoil=True)

    def prepared(self, where: str) -> adapter.Prepared:
        """What is trained on: volumes, images, volumes slice by slice, and large ones of two channels."""
        if where not in self._kept:
            folder = self.images if where == "2D" else self.volumes
            patch = PATCHES[3 if where == "3D" else 2]
            if where in LARGE:
                patch = LARGE[where]
                folder = data.write_folder(self.root / where, patch, channels=2)
            spacing = data.SPACING[:2] if where.endswith("2D") else data.SPACING
            self._kept[where] = self._prepared(folder, patch, spacing)
        return self._kept[where]

    def schooled(self, where: str) -> Mapping[str, Any]:
        """Weights of the network that all methods are tried with, after it has seen the scans."""
        if where not in self._schooled:
            self._schooled[where] = adapter.schooled(self.prepared(where), *NETWORK)
        return self._schooled[where]

    def _prepared(self, folder: Path, patch: tuple[int, ...], spacing: tuple[float, ...]) -> adapter.Prepared:
        return adapter.Prepared.of(folder, self.root / "cache", patch, spacing)

    def resampled(self) -> adapter.Prepared:
        """The volumes at another spacing."""
        return self._prepared(self.volumes, PATCHES[3], (1.2, 1.2, 1.2))

    def run(self, golden: Golden) -> Result:
        """The result of a golden run."""
        with tempfile.TemporaryDirectory(dir=self.root) as place:
            return golden.run(self, Path(place))
