"""Properties of a data folder that are valid but so often a mistake that they are worth checking.

Remarks have the form of errors, so that they are shown in the same way; they are never raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.finding import rater_folders
from segmend.data.folder import DataFolder
from segmend.data.image import Grid

ODD_SPACING = 2.0
"""A spacing is unusual if it is larger or smaller than the median one by at least this factor."""


def unlabelled(cases: Sequence[Case]) -> str:
    """How many training cases have no label, and which is the first; "" if all have one."""
    without = [case for case in cases if case.label is None]
    if not without:
        return ""
    have = "has" if len(without) == 1 else "have"
    return f"{len(without)} of {len(cases)} training cases {have} no label (first: {without[0].name})"


def unused_raters(folder: DataFolder) -> Iterator[InputError]:
    """Raters' folders that are used for no case, where cases have no label; a newcomer may expect them to be used."""
    if all(case.label for case in folder.cases):
        return
    used = {case.annotator for case in folder.cases}
    unused = [rater for rater in rater_folders(folder.root) if rater not in used]
    if unused:
        few = ", ".join(unused[:5]) + (f" and {len(unused) - 5} more" if len(unused) > 5 else "")
        remedy = "name the rater to use for each case in the column 'annotator' of cases.csv"
        problem = f"has labels of raters that are not used ({few}), and cases without a label"
        yield InputError(folder.root, problem, remedy, code="remark")


def constant_channels(case: Case, channel_names: Sequence[str], image: NDArray[np.float32]) -> Iterator[InputError]:
    """Channels that hold one value; what zero-filled missing sequences look like."""
    for name, channel in zip(channel_names, image, strict=True):
        if channel.min() == channel.max():
            problem = f"channel '{name}' of case '{case.name}' has the value {channel.flat[0]:g} everywhere"
            yield InputError(case.images[0], problem, "make sure that this channel was not acquired", code="remark")


def empty_label(case: Case, label: NDArray[np.uint8] | None) -> Iterator[InputError]:
    """A label without foreground."""
    if label is not None and (label == IGNORE).all():
        remedy = f"make sure that nothing was annotated, or give case '{case.name}' the quality 'none'"
        yield InputError(case.label, "marks every voxel as not annotated", remedy, code="remark")
    elif label is not None and not ((label > 0) & (label != IGNORE)).any():
        remedy = f"make sure that nothing is there, or give case '{case.name}' the quality 'none'"
        yield InputError(case.label, "marks nothing but background", remedy, code="remark")


def assumed_headers(grids: Mapping[Case, Grid]) -> Iterator[InputError]:
    """What was assumed or converted to read headers, once for all scans with the same remark."""
    scans: dict[str, list[Case]] = {}
    for case, grid in grids.items():
        for assumption in grid.assumptions:
            scans.setdefault(assumption, []).append(case)
    for assumption, cases in scans.items():
        more = f"; the same holds for {len(cases) - 1} more scans" if len(cases) > 1 else ""
        yield InputError(
            cases[0].images[0], assumption + more, "make sure that this is right, or correct the header", code="remark"
        )


def odd_spacings(grids: Mapping[Case, Grid]) -> Iterator[InputError]:
    """Scans whose spacing is far from the usual one, whatever the order of their axes."""
    if len({grid.dimensions for grid in grids.values()}) != 1:
        return
    spacings = {case: sorted(grid.spacing) for case, grid in grids.items()}
    usual = np.median(list(spacings.values()), axis=0)
    for case, spacing in spacings.items():
        if np.abs(np.log(spacing / usual)).max() > np.log(ODD_SPACING):
            problem = f"has a spacing of {_mm(spacing)}, but the median is {_mm(usual)}"
            yield InputError(case.images[0], problem, "check the voxel spacing in the header", code="remark")


def duplicates(digests: Mapping[Case, bytes]) -> Iterator[InputError]:
    """Cases whose images are the same, voxel by voxel."""
    first: dict[bytes, Case] = {}
    for case, digest in digests.items():
        other = first.setdefault(digest, case)
        if other is not case:
            splits = f"'{case.split}' and '{other.split}'" if case.split != other.split else f"'{case.split}' both"
            problem = f"is the same image as {other.images[0].name} (split {splits})"
            yield InputError(case.images[0], problem, "leave one of the two cases out", code="remark")


def _mm(spacing: Iterable[float]) -> str:
    return " x ".join(f"{side:.3g}" for side in spacing) + " mm"
