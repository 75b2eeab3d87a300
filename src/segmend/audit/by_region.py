"""Audit of regions, which may overlap: each is judged by itself, as one object against all else.

Proposals and issues of each region are masks in a folder of its own. A corrected label is put together from the
proposals that are followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.auditor import Audit, Auditor
from segmend.audit.evidence import AuditedCase, Evidence
from segmend.audit.folder import AuditFolder
from segmend.audit.region_views import proposal_view, region_view
from segmend.audit.rows import rank_rows
from segmend.core.progress import say
from segmend.data.folder import DataFolder

__all__ = ["RegionEvidence", "audit_objects", "proposal_view", "region_view"]


def audit_objects(
    folder: DataFolder, cases: Sequence[AuditedCase], raters: Mapping[str, Path], place: AuditFolder, cores: int = 1
) -> Audit:
    """Audit all classes together, or each region by itself.

    Args:
        folder: the data folder.
        cases: those to judge.
        raters: folders of further labels of the same cases, by rater.
        place: where proposals and issues are written.
        cores: the most processes that work on cases at once.
    """
    if not folder.regions:
        return Auditor(folder, cases, raters, place, cores).run()
    found = {}
    for view, annotated, of_region in object_views(folder, cases, place):
        say(f"region '{of_region.region}'")
        found[of_region.region] = Auditor(view, annotated, raters, of_region, cores).run()
    audits = found.values()
    return Audit(
        temperature={name: each.temperature for name, each in found.items() if isinstance(each.temperature, float)},
        thresholds={name: each.thresholds[name] for name, each in found.items()},
        references={name: each.references[name] for name, each in found.items()},
        labels=rank_rows([row for each in audits for row in each.labels]),
        regions=[row for each in audits for row in each.regions],
        annotators=[row for each in audits for row in each.annotators],
        findings=[replace(finding, label=name) for name, each in found.items() for finding in each.findings],
        reliability={name: each.reliability[name] for name, each in found.items()},
    )


def object_views(
    folder: DataFolder, cases: Sequence[AuditedCase], place: AuditFolder
) -> Iterator[tuple[DataFolder, Sequence[AuditedCase], AuditFolder]]:
    """Data, cases and files of what is audited together: all classes, or each region in which cases are annotated.

    Args:
        folder: the data folder.
        cases: those to judge.
        place: the audit.
    """
    if not folder.regions:
        yield folder, cases, place
    for name, classes in folder.regions.items():
        annotated = [
            replace(
                audited,
                case=replace(audited.case, annotated=None),
                evidence=RegionEvidence(audited.evidence.path, audited.evidence, classes),
            )
            for audited in cases
            if audited.case.annotated is None or name in audited.case.annotated
        ]
        if annotated:
            yield region_view(folder, name), annotated, place.of_region(name)


@dataclass(frozen=True)
class RegionEvidence(Evidence):
    """The probabilities of a region and of all else.

    Attributes:
        of_classes: the probabilities of all classes.
        parts: indices of the classes of the region.
    """

    of_classes: Evidence
    parts: tuple[int, ...]

    @cached_property
    def classes(self) -> int:
        """Two."""
        return 2

    def probability(self, index: int) -> NDArray[np.float32]:
        """The map ``[*spatial]`` of all else (0) or of the region (1), strictly within 0..1 as those of classes."""
        inside = [part for part in range(self.of_classes.classes) if (part in self.parts) == bool(index)]
        total = self.of_classes.probability(inside[0])
        for part in inside[1:]:
            total += self.of_classes.probability(part)
        edge = np.float32(np.finfo(np.float32).eps)
        clipped: NDArray[np.float32] = total.clip(edge, 1 - edge)
        return clipped

    def within(self, index: int, *boxes: tuple[slice, ...]) -> list[NDArray[np.float32]]:
        """The map within some boxes."""
        probability = self.probability(index)
        return [probability[box] for box in boxes]

    def at(self, index: int, voxels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probability ``[n]`` at some voxels, by their flat indices."""
        return self.probability(index).reshape(-1)[voxels]

    def concentrated(self, index: int) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
        """A box around everything, and the map."""
        probability = self.probability(index)
        return tuple(slice(0, side) for side in probability.shape), probability
