"""In what two cases are similar: annotator, domain, kind of error, volumes, intensities."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segmend.audit.selection.candidates import Candidate
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.progress import track
from segmend.core.regions import annotated_objects, mask_of
from segmend.data.cache import digest_of
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.functional.diversity import FeatureGroup


@dataclass(frozen=True, slots=True)
class CaseFeatures:
    """What the files of a case say.

    Attributes:
        domain: scanner, centre or the like; "" if unknown.
        volumes: of each class in mm^3 (2D: mm^2).
        intensities: mean and standard deviation of each channel of the scan, in its own unit.
    """

    domain: str = ""
    volumes: Mapping[str, float] = field(default_factory=dict)
    intensities: tuple[float, ...] = ()


def read_features(
    candidates: Sequence[Candidate], folder: DataFolder, settings: Mapping[str, Any]
) -> list[CaseFeatures]:
    """Read scans and labels, one case at a time.

    Args:
        candidates: the cases.
        folder: the data folder; of predicted cases that are not in it only the volumes are known.
        settings: of the audit.

    Raises:
        InputError: an audited case is not in the folder, its label or scan has changed since, or cannot be read.
    """
    cases = {case.name: case for case in folder.cases}
    found = []
    for candidate in track(candidates, "reading cases"):
        case = cases.get(candidate.case)
        if candidate.labelled:
            require_unchanged(candidate.case, case, folder, settings)
        found.append(CaseFeatures(volumes=candidate.volumes) if case is None else _features(candidate, case, folder))
    return found


def require_unchanged(name: str, case: Case | None, folder: DataFolder, settings: Mapping[str, Any]) -> None:
    """Check that a case is that which was audited.

    Args:
        name: of the case.
        case: in the folder; None if there is none.
        folder: the data folder.
        settings: of the audit.

    Raises:
        InputError: it is not there, or its label or scan has changed.
    """
    if case is None or case.label is None:
        problem = f"has no label of case '{name}', which was audited"
        raise InputError(folder.root, problem, "give the folder of the audit", code="mismatch")
    for kind, files in (("labels", (case.label,)), ("images", case.images)):
        known = settings.get(kind, {}).get(name)
        if known is not None and digest_of(*files) != known:
            raise InputError(files[0], "has changed since the audit", "audit the folder again", code="changed-data")


def feature_groups(candidates: Sequence[Candidate], features: Sequence[CaseFeatures]) -> list[FeatureGroup]:
    """The features of cases as numbers, in groups that weigh the same.

    Args:
        candidates: the cases.
        features: of each.
    """
    labels = sorted({each.label for candidate in candidates for each in candidate.classes})
    kinds = [{each.label: each.kind for each in candidate.classes if candidate.labelled} for candidate in candidates]
    volumes = [{label: math.log1p(volume) for label, volume in each.volumes.items()} for each in features]
    columns = max((len(each.intensities) for each in features), default=0)
    intensities = [dict(enumerate(each.intensities)) for each in features]
    return [
        _categories([{0: candidate.annotator} if candidate.annotator else {} for candidate in candidates], [0]),
        _categories([{0: each.domain} if each.domain else {} for each in features], [0]),
        _categories(kinds, labels),
        FeatureGroup(_matrix(volumes, sorted({label for each in volumes for label in each}))),
        FeatureGroup(_matrix(intensities, range(columns))),
    ]


def _features(candidate: Candidate, case: Case, folder: DataFolder) -> CaseFeatures:
    loaded = load_case(case, folder)
    voxel = math.prod(loaded.grid.spacing)
    volumes = candidate.volumes
    if candidate.labelled and loaded.label is not None:
        objects = annotated_objects(folder.objects, case.annotated)
        volumes = {
            name: voxel * float(np.count_nonzero(mask_of(loaded.label, classes) & (loaded.label != IGNORE)))
            for name, classes in objects.items()
        }
    statistics = [value for channel in loaded.image for value in (channel.mean(dtype=float), channel.std(dtype=float))]
    return CaseFeatures(case.domain, volumes, tuple(map(float, statistics)))


def _matrix(rows: Sequence[Mapping[Any, float]], columns: Iterable[Hashable]) -> Any:
    """``[rows, columns]``; NaN where a row lacks a column."""
    names = list(columns)
    return np.array([[row.get(name, math.nan) for name in names] for row in rows]).reshape(len(rows), len(names))


def _categories(rows: Sequence[Mapping[Any, str]], columns: Iterable[Hashable]) -> FeatureGroup:
    numbers: dict[str, float] = {}
    coded = [{name: numbers.setdefault(value, float(len(numbers))) for name, value in row.items()} for row in rows]
    return FeatureGroup(_matrix(coded, columns), categorical=True)
