"""The audit of labels in memory: no folders, no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.audit.annotators import ComparedDrawings
from segmend.audit.auditor import Auditor
from segmend.audit.evidence import AuditedCase, Evidence, StoredMap, encode
from segmend.audit.examination import Examination, Measurement
from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Quality
from segmend.core.errors import InputError
from segmend.core.grid import Grid
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder

_SUM_TOLERANCE = 0.02


def find_label_issues(
    labels: Iterable[NDArray[np.integer[Any]]],
    probabilities: Iterable[NDArray[np.floating[Any]]],
    spacing: Sequence[float] | Iterable[Sequence[float]] | None = None,
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    expert: Iterable[bool] | None = None,
    annotators: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Rank labels by how likely they are wrong, with the numbers of ``segmend audit``.

    Args:
        labels: class indices ``[*spatial]`` of each case, 2D or 3D; 255 where a voxel is not annotated.
        probabilities: of each case ``[C, *spatial]`` after softmax, 0..1, out-of-fold: from a model that was not
            trained on this label.
        spacing: mm between voxels along each axis, of all cases or of each; 1 mm by default.
        names: of the cases; their positions by default.
        class_names: background first; "0", "1", ... by default.
        expert: for each case, whether its label is an expert one; none by default.
        annotators: for each case, who drew its label.

    Returns:
        The columns of ``audit.csv`` (docs/audit.md), a row per case and foreground class, the most suspect first: among
        them ``score`` (0..1, low is suspect), ``expected_dice``, ``kind``, ``flagged_voxels``, ``correction_mm``.

    Raises:
        InputError: arrays do not fit together, or are no labels or probabilities.

    Example:
        >>> issues = find_label_issues(labels, probabilities, spacing=(1.0, 1.0, 3.0))
        >>> issues.head(10)[["case", "label", "score", "kind"]]
    """
    given, maps = list(labels), list(probabilities)
    if len(given) != len(maps) or not given:
        problem = f"must be as many as labels and at least one, got {len(maps)} for {len(given)} labels"
        raise InputError("probabilities", problem, "give one array for each label", code="mismatch")
    count = len(given)
    case_names = _of_each("names", names, count, [str(index) for index in range(count)])
    classes = maps[0].shape[0] if maps[0].ndim else 0
    titles = [str(each) for each in class_names or range(classes)]
    spacings = _spacings(spacing, given)
    is_expert = _of_each("expert", expert, count, [False] * count)
    drawn_by = _of_each("annotators", annotators, count, [""] * count)
    cases = []
    for index, (label, of_case) in enumerate(zip(given, maps, strict=True)):
        _check(case_names[index], label, of_case, len(titles))
        quality = Quality.EXPERT if is_expert[index] else Quality.NOISY
        case = Case(str(case_names[index]), (), None, quality=quality, annotator=str(drawn_by[index]))
        cases.append(AuditedCase(case, _ArrayEvidence(Path(case.name), of_case)))
    arrays = {case.case.name: label.astype(np.uint8) for case, label in zip(cases, given, strict=True)}
    if len(arrays) < count:
        raise InputError("names", "must differ", "give each case its own", code="duplicate")
    grids = {
        case.case.name: Grid(label.shape, np.diag([*sides, *[1.0] * (4 - len(sides))]))
        for case, label, sides in zip(cases, given, spacings, strict=True)
    }
    found = _ArrayAuditor(titles, cases, arrays, grids).run()
    return pd.DataFrame([asdict(row) for row in found.labels])


@dataclass(frozen=True)
class _ArrayEvidence(Evidence):
    """Probabilities in memory, rounded as those in files are, so that both give the same numbers.

    Attributes:
        array: ``[C, *spatial]``.
    """

    array: NDArray[np.floating[Any]]

    @cached_property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.array)

    def stored(self, index: int) -> StoredMap:
        """The map of a class as files hold it."""
        return StoredMap.of(encode(np.asarray(self.array[index], dtype=np.float32)))


class _ArrayAuditor(Auditor):
    """An audit that reads and writes no files, and compares no further annotators of a case."""

    def __init__(
        self,
        names: Sequence[str],
        cases: Sequence[AuditedCase],
        labels: Mapping[str, NDArray[np.uint8]],
        grids: Mapping[str, Grid],
    ) -> None:
        described = {name: index for index, name in enumerate(names)}
        folder = DataFolder(Path(), "arrays", ("0",), described, None, ".nii.gz", tuple(case.case for case in cases))
        super().__init__(folder, cases, {}, AuditFolder(Path()))
        self._labels, self._grids = labels, grids

    def _compare(
        self, case: Case, examination: Examination, grid: Grid, measured: Mapping[int, Measurement]
    ) -> ComparedDrawings:
        return ComparedDrawings()

    def _store(self, case: Case, proposal: NDArray[np.uint8], issues: NDArray[np.uint8]) -> None: ...

    def _grid(self, audited: AuditedCase) -> Grid:
        return self._grids[audited.case.name]

    def _label(self, audited: AuditedCase) -> tuple[NDArray[np.uint8], Grid]:
        return self._labels[audited.case.name], self._grid(audited)


def _of_each(name: str, given: Iterable[Any] | None, count: int, default: list[Any]) -> list[Any]:
    values = default if given is None else list(given)
    if len(values) != count:
        raise InputError(
            name,
            f"must have one entry per label, {count}, got {len(values)}",
            "give one for each label",
            code="mismatch",
        )
    return values


def _spacings(given: Any, labels: Sequence[NDArray[Any]]) -> list[tuple[float, ...]]:
    if given is None:
        return [(1.0,) * label.ndim for label in labels]
    values = list(given)
    sides = [tuple(values)] * len(labels) if np.ndim(values[0]) == 0 else [tuple(each) for each in values]
    for label, each in zip(labels, _of_each("spacing", sides, len(labels), []), strict=True):
        if len(each) != label.ndim or not all(np.isfinite(side) and side > 0 for side in each):
            problem = f"must have {label.ndim} positive values, got {each}"
            raise InputError("spacing", problem, "give mm between voxels along each axis", code="invalid-value")
    return sides


def _check(name: object, label: NDArray[Any], of_case: NDArray[Any], classes: int) -> None:
    where = f"case '{name}'"
    if label.ndim not in (2, 3) or not np.issubdtype(label.dtype, np.integer):
        problem = f"has a label of shape {label.shape} and type {label.dtype}"
        raise InputError(where, problem, "give class indices as integers, 2D or 3D", code="mismatch")
    if of_case.shape != (classes, *label.shape) or classes < 2:
        problem = (
            f"has probabilities of shape {of_case.shape}, expected ({classes}, {', '.join(map(str, label.shape))})"
        )
        raise InputError(where, problem, "give [classes, *spatial] on the voxels of the label", code="mismatch")
    values = np.unique(label)
    if ((values >= classes) & (values != IGNORE)).any() or values.min() < 0:
        raise InputError(
            where,
            f"has label values {values[:10]}",
            f"give class indices from 0 to {classes - 1}",
            code="invalid-value",
        )
    total = of_case.sum(0)
    if not np.isfinite(total).all() or of_case.min() < 0 or np.abs(total - 1).max() > _SUM_TOLERANCE:
        raise InputError(
            where, "has probabilities that do not sum to 1", "give them after softmax", code="invalid-value"
        )
