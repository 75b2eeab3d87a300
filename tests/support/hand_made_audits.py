"""Audits whose proposals, probabilities and regions a test chooses voxel by voxel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.audit.folder import AuditFolder
from segmend.core.masks import IGNORE
from segmend.core.regions import mask_of
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.engine.evidence import write_evidence


@dataclass(frozen=True)
class Region:
    """A row of regions.csv and its voxels."""

    case: str
    number: int
    label: str
    given: str
    suggested: str
    mask: NDArray[np.bool_]


def hand_made_audit(
    data: Path,
    root: Path,
    proposals: Mapping[str, NDArray[np.uint8]],
    *,
    regions: Sequence[Region] = (),
    sure: float = 0.9,
    columns: Mapping[str, object] | None = None,
    evidence: bool = True,
) -> AuditFolder:
    """Write an audit of a data folder: all labels that a proposal changes have the score 0.2, all others 0.9.

    Args:
        data: the data folder.
        root: where the audit is written.
        proposals: class indices of the proposed label by case; others stay.
        regions: regions of any cases; a label's other changes are issues without a region.
        sure: calibrated probability of the class that is proposed; the others share the rest.
        columns: further columns of audit.csv, or other values of them.
        evidence: whether there are probabilities.
    """
    folder, place = DataFolder.open(data), AuditFolder(root)
    rows, digests = [], {}
    for case in folder.select(split="train"):
        values, _ = read_label(case.label)
        given = folder.to_indices(values)
        proposed = proposals.get(case.name, given)
        digests[case.name] = digest_of(case.label)
        for name, classes in folder.objects.items():
            if case.annotated is not None and name not in case.annotated:
                continue
            before, after = mask_of(given, classes), mask_of(proposed, classes)
            changed = int((before != after).sum())
            rows.append(
                {
                    **{"case": case.name, "label": name, "score": 0.2 if changed else 0.9, "kind": "extra"},
                    **{"quality": str(case.quality), "proposal": "regions" if changed else "none"},
                    **{"proposal_score": 0.8 if changed else np.nan, "changed_voxels": changed},
                }
            )
            if folder.regions:
                _write(place.of_region(name), case, folder, after.astype(np.uint8), before != after, regions, name)
        if not folder.regions:
            _write(place, case, folder, folder.to_values(proposed), given != proposed, regions)
        if evidence:
            rest = (1 - sure) / (folder.classes - 1)
            best = np.where(proposed == IGNORE, 0, proposed)
            write_evidence(
                place.evidence(case.name), (np.where(best == index, sure, rest) for index in range(folder.classes))
            )
    pd.DataFrame(rows).assign(**(columns or {})).to_csv(place.labels, index=False)
    names = ("case", "region", "label", "given", "suggested")
    cells = [(each.case, each.number, each.label, each.given, each.suggested) for each in regions]
    pd.DataFrame(cells, columns=names).to_csv(place.regions, index=False)
    place.settings.write_text(json.dumps({"labels": digests}))
    usual = {name: {"slack": 2.0} for name in folder.objects}
    temperature = dict.fromkeys(folder.objects, 1.0) if folder.regions else 1.0
    place.summary.write_text(json.dumps({"remarks": [], "temperature": temperature, "usual": usual}))
    return place


def _write(place, case, folder, proposed, issues, regions, name=None) -> None:
    numbered = issues.astype(np.uint8)
    for region in regions:
        if region.case == case.name and name in (None, region.label):
            numbered[region.mask] = region.number
    write_label(place.proposal(case.name, folder.file_ending), proposed, like=case.label)
    write_label(place.issues(case.name, folder.file_ending), numbered, like=case.label)
