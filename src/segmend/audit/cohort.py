"""Checks of a label against the labels of the other cases, without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segmend.audit.checks import Finding
from segmend.core.masks import IGNORE
from segmend.data.image import Grid

_TINY = 0.05
"""Fraction of the median volume below which a label has a small volume."""
_NEARLY_EVERYWHERE = 0.9
"""Fraction of the cases that must have a class for it to count as missing in another case."""
_FEWEST = 5
"""Smallest number of cases that the comparison needs."""
_SLIGHT = 0.02
"""Sideways spread, relative to the width of the scan, that is always allowed for."""


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """Summary of a case for the comparison with other cases.

    Attributes:
        image: digest of the scan.
        label: digest of the label; empty if it marks nothing.
        volumes: of each class present, in mm^3.
        sideways: place of the centre of each class from the patient's left (negative) to right, relative
            to the width of the scan.
    """

    image: bytes
    label: bytes
    volumes: Mapping[int, float]
    sideways: Mapping[int, float]

    @classmethod
    def of(cls, image: NDArray[np.float32], label: NDArray[np.uint8], grid: Grid) -> Self:
        """Summarise a case; arguments as in ``check_label``."""
        present = [int(index) for index in np.unique(label) if index not in (0, IGNORE)]
        voxel = float(np.prod(grid.spacing))
        return cls(
            image=_digest(image),
            label=_digest(label) if present else b"",
            volumes={index: voxel * np.count_nonzero(label == index) for index in present},
            sideways={index: _sideways(label == index, grid) for index in present},
        )


def check_cohort(names: Sequence[str], summaries: Mapping[str, CaseSummary]) -> Iterator[Finding]:
    """Compare all cases.

    Args:
        names: of the classes, background first.
        summaries: of the cases by name.
    """
    yield from _same(summaries, "same_image", lambda summary: summary.image)
    yield from _same(summaries, "same_label", lambda summary: summary.label)
    for index in range(1, len(names)):
        having = {case: summary for case, summary in summaries.items() if index in summary.volumes}
        if len(having) >= _FEWEST:
            yield from _absent(names[index], summaries, having)
            yield from _tiny(names[index], {case: having[case].volumes[index] for case in having})
            yield from _flipped(names[index], {case: having[case].sideways[index] for case in having})


def duplicate_scans(summaries: Mapping[str, CaseSummary]) -> dict[str, str]:
    """For each case whose scan also belongs to an earlier case, the first such case."""
    first: dict[bytes, str] = {}
    found = {case: first.setdefault(summary.image, case) for case, summary in summaries.items()}
    return {case: other for case, other in found.items() if case != other}


def _same(summaries: Mapping[str, CaseSummary], check: str, part: Callable[[CaseSummary], bytes]) -> Iterator[Finding]:
    first: dict[bytes, str] = {}
    for case, summary in summaries.items():
        other = first.setdefault(part(summary), case) if part(summary) else case
        if other != case:
            yield Finding(case, "", check, 0, f"the same as of case '{other}'")


def _absent(name: str, all_cases: Mapping[str, CaseSummary], having: Mapping[str, CaseSummary]) -> Iterator[Finding]:
    if len(having) >= _NEARLY_EVERYWHERE * len(all_cases):
        for case, summary in all_cases.items():
            if case not in having and summary.volumes:
                yield Finding(case, name, "missing_class", 0, f"{len(having)} of {len(all_cases)} cases have it")


def _tiny(name: str, volumes: Mapping[str, float]) -> Iterator[Finding]:
    median = float(np.median(list(volumes.values())))
    for case, volume in volumes.items():
        if volume < _TINY * median:
            yield Finding(case, name, "small_volume", 0, f"{volume:.3g} mm3, but the median is {median:.3g} mm3")


def _flipped(name: str, places: Mapping[str, float]) -> Iterator[Finding]:
    values = np.array(list(places.values()))
    usual = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - usual))), _SLIGHT)
    if abs(usual) < 3 * spread:  # it lies in the middle
        return
    for case, place in places.items():
        if abs(place - usual) > 4 * spread and abs(-place - usual) < 2 * spread:
            yield Finding(case, name, "laterality", 0, "lies where its mirror image does in the other cases")


def _digest(array: NDArray[np.float32] | NDArray[np.uint8]) -> bytes:
    state = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(array).data)
    return state.digest()


def _sideways(mask: NDArray[np.bool_], grid: Grid) -> float:
    def world(places: Iterable[float]) -> float:
        return float(grid.affine[0, : grid.dimensions] @ np.array(list(places)))

    centre = world(float(axis.mean()) for axis in np.nonzero(mask))
    middle = world((side - 1) / 2 for side in grid.shape)
    width = float(np.abs(grid.affine[0, : grid.dimensions]) @ np.array(grid.shape))
    return (centre - middle) / width
