from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from audit_rows import example_row

from segmend.audit.annotators import AnnotatorRow
from segmend.audit.checks import Finding
from segmend.audit.folder import AuditFolder
from segmend.audit.regions import ErrorKind
from segmend.audit.rows import LabelRow, RegionRow
from segmend.core.tables import write_json, write_rows
from segmend.data.folder import DataFolder

LPS = np.diag([-1.0, -1.0, 2.0, 1.0])
SHAPE = (24, 20, 10)


@dataclass
class MadeUpAudit:
    """A data folder and an audit of it: a bright box in each scan, of which the labels lack the last slices."""

    root: Path
    labels: Sequence[str]

    @property
    def folder(self) -> DataFolder:
        return DataFolder.open(self.root / "data")

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def place(self) -> AuditFolder:
        return AuditFolder(self.audit)

    def save(self, path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, LPS), path)

    def add_case(self, name: str) -> None:
        """Each label value v is a box behind the last; the label ends at z = 5, but the object at z = 8."""
        rng = np.random.default_rng([*name.encode()])
        image = rng.normal(100, 10, SHAPE).astype(np.float32)
        given, proposal, issues = np.zeros((3, *SHAPE), np.uint8)
        for value in range(1, len(self.labels) + 1):
            box = (slice(6, 18), slice(6 * value - 3, 6 * value + 2))
            image[(*box, slice(2, 8))] += 200
            given[(*box, slice(2, 5))] = proposal[(*box, slice(2, 8))] = value
            issues[(*box, slice(5, 8))] = value + 1
        data = self.root / "data"
        self.save(data / "imagesTr" / f"{name}_0000.nii.gz", image)
        self.save(data / "labelsTr" / f"{name}.nii.gz", given)
        self.save(self.place.proposal(name, ".nii.gz"), proposal)
        self.save(self.place.issues(name, ".nii.gz"), issues)

    def region(self, case: str, label: str) -> RegionRow:
        value = self.labels.index(label) + 1
        x, y, z = (LPS @ [11.5, 6 * value - 0.5, 6, 1])[:3]
        return RegionRow(
            case=case,
            region=value + 1,
            label=label,
            kind=ErrorKind.SLICES,
            given="background",
            suggested=label,
            voxels=180,
            mm3=360.0,
            thickness_mm=4.2,
            score=0.91,
            box="6-17 3-7 5-7",
            centre_x_mm=x,
            centre_y_mm=y,
            centre_z_mm=z,
        )

    def write_tables(
        self,
        rows: Sequence[LabelRow],
        regions: Sequence[RegionRow] = (),
        biases: Sequence[AnnotatorRow] = (),
        findings: Sequence[Finding] = (),
        remarks: Sequence[str] = (),
    ) -> None:
        write_rows(self.place.labels, LabelRow, rows)
        write_rows(self.place.regions, RegionRow, regions)
        write_rows(self.place.annotators, AnnotatorRow, biases)
        write_rows(self.place.checks, Finding, findings)
        summary = {
            "remarks": list(remarks),
            "suspect": sum(row.suspect for row in rows),
            "share_below": {"dice": 0.8, "labels": len(rows), "share": 0.5, "from": 0.25, "to": 0.75},
            "reliability": {
                label: {"against": "expert labels", "expected": [0.9, 0.7], "found": [0.8, 0.8]}
                for label in self.labels
            },
        }
        write_json(self.place.summary, summary)


@pytest.fixture
def make_audit(tmp_path: Path) -> Callable[..., MadeUpAudit]:
    """Makes an audit of some cases and labels, scored from 0.1 upwards in this order."""

    def make(cases: Sequence[str], labels: Sequence[str] = ("organ",), name: str = "made up") -> MadeUpAudit:
        made = MadeUpAudit(tmp_path, labels)
        (tmp_path / "data").mkdir()
        values = {"background": 0} | {label: value for value, label in enumerate(labels, start=1)}
        description = {"name": name, "channel_names": {"0": "MR"}, "labels": values, "file_ending": ".nii.gz"}
        (tmp_path / "data" / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
        for case in cases:
            made.add_case(case)
        pairs = [(case, label) for case in cases for label in labels]
        scores = np.linspace(0.1, 0.9, len(pairs))
        made.write_tables(
            [
                example_row(rank, case, label, float(score))
                for rank, ((case, label), score) in enumerate(zip(pairs, scores, strict=True), 1)
            ],
            [made.region(case, label) for case, label in pairs],
        )
        return made

    return make
