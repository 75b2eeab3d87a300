"""Close-up of a label on the page of an audit: the scan around its worst region, with all outlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segmend.audit.folder import AuditFolder
from segmend.audit.report.close_up import Scene
from segmend.audit.report.reading import Row
from segmend.core.errors import InputError, did_you_mean
from segmend.core.masks import IGNORE, Mask
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_image, read_label
from segmend.data.raters import read_drawing


@dataclass(frozen=True, eq=False)
class AuditedScan:
    """A case of an audit with all that the page shows of it.

    Attributes:
        image: one channel, ``[*spatial]``.
        given: class indices of the label, of the same shape.
        proposal: of the proposed one.
        issues: 1 where a voxel is flagged, from 2 on the numbers of the regions.
        grid: of all of them.
    """

    image: NDArray[np.float32]
    given: NDArray[np.uint8]
    proposal: NDArray[np.uint8]
    issues: NDArray[np.integer]
    grid: Grid

    def scene(self, label: int, worst: int | None) -> Scene:
        """The scan with the masks given, proposal, issue and other labels.

        Args:
            label: the class to judge.
            worst: number of the region to look at; by default all that the proposal changes, or else
                the object, or the whole scan if there is none.
        """
        given, proposal = self.given == label, self.proposal == label
        others = (self.given != label) & (self.given > 0) & (self.given != IGNORE)
        of_region = [self.issues == worst] if worst else []
        places = (*of_region, given != proposal, given, np.ones_like(given))
        place: Mask = next(place for place in places if place.any())
        return Scene.upright(self.image, [given, proposal, self.issues > 0, others], place, self.grid)


def audited_scans(
    audit: AuditFolder, folder: DataFolder, cases: Sequence[str], channel: int
) -> Iterator[tuple[str, AuditedScan]]:
    """Reads some cases of an audit, one at a time.

    Args:
        audit: holds their proposals and issues.
        folder: holds their scans and labels.
        cases: their names.
        channel: of the scans.

    Raises:
        InputError: there is no such case or channel, or a file is missing or damaged.
    """
    known = {case.name: case for case in folder.cases if case.label is not None}
    if not 0 <= channel < len(folder.channel_names):
        raise InputError("channel", f"is {channel}", f"give 0 to {len(folder.channel_names) - 1}", code="invalid-value")
    for name in cases:
        if name not in known:
            raise InputError(
                folder.root,
                f"has no label of case '{name}', which was audited",
                did_you_mean(name, known),
                code="changed-data",
            )
        label = known[name].label
        assert label is not None
        image, grid = read_image(known[name].images[channel])
        issues, own = read_label(audit.issues(name, folder.file_ending))
        if not own.matches(grid):
            problem = f"does not lie over {known[name].images[channel].name}"
            raise InputError(audit.issues(name, folder.file_ending), problem, "audit the folder again", code="mismatch")
        given = read_drawing(label, folder, grid)
        # The values of a label file say what belongs to a region, but its proposals are masks of 0 and 1.
        proposing = replace(folder, values={}) if audit.region else folder
        proposal = read_drawing(audit.proposal(name, folder.file_ending), proposing, grid)
        yield name, AuditedScan(image[0], given, proposal, issues, grid)


def worst_region(row: Row, regions: Sequence[Row]) -> int | None:
    """Number of the region to look at first, or None for the whole of what the proposal changes.

    Args:
        row: of ``audit.csv``.
        regions: those of this row, the most important first.
    """
    return None if row["proposal"] == "shift" or not regions else int(regions[0]["region"])
