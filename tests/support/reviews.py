"""Small audits to review: a data folder, its audit, and a client of the application that knows the token."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
from audit_rows import example_row
from numpy.typing import NDArray

from segmend.audit.annotators import AnnotatorRow
from segmend.audit.checks import Finding
from segmend.audit.folder import AuditFolder
from segmend.audit.regions import ErrorKind
from segmend.audit.rows import LabelRow, RegionRow
from segmend.core.tables import write_json, write_rows
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.review.review import Review

LABELS = {"background": 0, "organ": 1, "lesion": 4}
SHAPE = (12, 10, 8)
THICK = np.diag([-1.0, -1.5, 3.0, 1.0])
"""x runs to the left, y to the back, z to the head: the orientation of most scanners, in thick slices."""


@dataclass
class SmallAudit:
    """Cases whose labels lack a part of the organ, with an audit that proposes it.

    Attributes:
        root: where data and audit lie.
        labels: class names and values.
        affine: of every scan.
        ending: of all files.
        channels: of the scans.
    """

    root: Path
    labels: Mapping[str, int] = field(default_factory=lambda: dict(LABELS))
    affine: NDArray[np.float64] = field(default_factory=lambda: THICK)
    ending: str = ".nii.gz"
    channels: Sequence[str] = ("MR",)
    rows: list[LabelRow] = field(default_factory=list)
    regions: list[RegionRow] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def place(self) -> AuditFolder:
        return AuditFolder(self.root / "audit")

    def review(self, **options: object) -> Review:
        return Review(self.place, DataFolder.open(self.data), **options)

    def write(self, path: Path, array: NDArray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, self.affine), path)

    def arrays(self, case: str) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Scan, label values, proposal and issues of a case, all without any symmetry."""
        random = np.random.default_rng([*case.encode()])
        scan = random.integers(0, 1000, SHAPE).astype(np.int16)
        label, proposal, issues = np.zeros((3, *SHAPE), np.uint8)
        label[2:6, 3:5, 1:4] = proposal[2:6, 3:5, 1:4] = 1
        proposal[2:6, 3:7, 5:7] = 1
        issues[2:6, 3:7, 5:7] = 2
        label[8:10, 1:3, 2:4] = proposal[8:10, 1:3, 2:4] = self.labels.get("lesion", 1)
        return scan, label, proposal, issues

    def add(self, *cases: str) -> None:
        for case in cases:
            scan, label, proposal, issues = self.arrays(case)
            for channel in range(len(self.channels)):
                self.write(self.data / "imagesTr" / f"{case}_{channel:04d}{self.ending}", scan + 10 * channel)
            self.write(self.data / "labelsTr" / f"{case}{self.ending}", label)
            self.write(self.place.proposal(case, self.ending), proposal)
            self.write(self.place.issues(case, self.ending), issues)
            rank = len(self.rows) + 1
            self.rows += [
                example_row(rank, case, "organ", 0.2),
                example_row(rank + 1, case, "lesion", 0.9, changed_voxels=0),
            ]
            centre = (self.affine @ [3.5, 4.5, 5.5, 1])[:3]
            self.regions.append(
                RegionRow(
                    case=case,
                    region=2,
                    label="organ",
                    kind=ErrorKind.SLICES,
                    given="background",
                    suggested="organ",
                    voxels=32,
                    mm3=144.0,
                    thickness_mm=3.0,
                    score=0.8,
                    box="2-5 3-6 5-6",
                    centre_x_mm=centre[0],
                    centre_y_mm=centre[1],
                    centre_z_mm=centre[2],
                )
            )

    def finish(self) -> None:
        """Write the tables."""
        description = {
            "name": "small",
            "channel_names": {str(number): name for number, name in enumerate(self.channels)},
            "labels": dict(self.labels),
            "file_ending": self.ending,
        }
        self.data.mkdir(exist_ok=True)
        (self.data / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
        place = self.place
        write_rows(place.labels, LabelRow, self.rows)
        write_rows(place.regions, RegionRow, self.regions)
        write_rows(place.annotators, AnnotatorRow, [])
        write_rows(place.checks, Finding, [Finding(self.rows[0].case, "organ", "gap", 3, "two empty slices")])
        write_json(place.summary, {"remarks": ["Train for longer."]})
        folder = DataFolder.open(self.data)
        settings = {
            "data": str(self.data.resolve()),
            "classes": {**folder.labels, "ignore": folder.ignore},
            "labels": {case.name: digest_of(case.label) for case in folder.cases if case.label},
            "images": {case.name: digest_of(*case.images) for case in folder.cases},
        }
        write_json(place.settings, settings)
