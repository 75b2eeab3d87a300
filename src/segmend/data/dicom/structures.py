"""What segmentations and structure sets have in common: named structures that refer to image series."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import Mask
from segmend.data.dicom.series import Series
from segmend.data.names import check_name, confusable

_RESERVED = ("background", "ignore")


class Structures(Protocol):
    """The structures of one SEG or RTSTRUCT object."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def series(self) -> str:
        """SeriesInstanceUID of the images that it was drawn on."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its structures, each once."""

    def masks(self, series: Series, names: Collection[str]) -> Iterator[tuple[str, Mask]]:
        """Masks ``[x, y, z]`` of some structures on the grid of the series.

        Raises:
            InputError: they do not lie on its slices.
        """


@dataclass(frozen=True)
class Overlap:
    """Two structures of a case that share voxels.

    Attributes:
        names: of the two, in alphabetical order.
        case: name of the case.
        voxels: number of voxels that both hold.
    """

    names: tuple[str, str]
    case: str
    voxels: int


def structure_names(path: Path, given: Collection[object]) -> tuple[str, ...]:
    """The names of a file's structures, as class names.

    Raises:
        InputError: one cannot be used as a class name, or two are the same but for capitals.
    """
    found: dict[str, str] = {}
    for each in given:
        name = check_name(path, "structure", str(each or "").strip())
        if name.casefold() in _RESERVED:
            raise InputError(
                path, f"has a structure called '{name}'", "rename it; the name has another meaning", code="invalid-name"
            )
        form = confusable(name)
        if form in found:
            raise InputError(path, f"has the structures '{found[form]}' and '{name}'", "rename one", code="duplicate")
        found[form] = name
    return tuple(found.values())


def one_reference(path: Path, found: Collection[str]) -> str:
    """The one series that a label refers to.

    Raises:
        InputError: it refers to none or to several.
    """
    if not found:
        raise InputError(path, "does not say which image series it belongs to", "export it again", code="missing-value")
    if len(found) > 1:
        problem = f"belongs to {len(found)} image series: {', '.join(sorted(found))}"
        raise InputError(path, problem, "split it, or remove it", code="unsupported")
    return next(iter(found))


def label_map(
    objects: Collection[Structures], series: Series, values: Mapping[str, int], case: str
) -> tuple[NDArray[np.integer], list[Overlap]]:
    """The structures of a series as one label map.

    Args:
        objects: all that refer to the series.
        series: whose grid it gets.
        values: label value of each class by its common form (``confusable``).
        case: its name, for the list of overlaps.

    Returns:
        ``[x, y, z]``, and the pairs of structures that share voxels.

    Raises:
        InputError: a structure does not lie on the slices, or two objects hold one structure.
    """
    label = np.zeros(series.grid.shape, dtype=np.min_scalar_type(max(values.values(), default=1)))
    owners: dict[int, tuple[str, Path]] = {}
    overlaps: list[Overlap] = []
    for each in objects:
        wanted = [name for name in each.names if confusable(name) in values]
        for name in wanted:
            _, other = owners.setdefault(values[confusable(name)], (name, each.path))
            if other != each.path:
                problem = f"holds '{name}' of the series that {other} also holds it of"
                raise InputError(each.path, problem, "keep one of the two labels", code="duplicate")
        for name, mask in each.masks(series, wanted):
            for value, voxels in zip(*np.unique(label[mask], return_counts=True), strict=True):
                if value:
                    pair = sorted((owners[int(value)][0], name))
                    overlaps.append(Overlap((pair[0], pair[1]), case, int(voxels)))
            label[mask] = values[confusable(name)]
    return label, overlaps
