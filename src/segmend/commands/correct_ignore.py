"""segmend correct --ignore_issues: doubtful voxels that are ignored from now on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.audit.evidence import Evidence, is_evidence
from segmend.audit.folder import AuditFolder
from segmend.commands.correct_choices import Choice
from segmend.commands.correct_drawing import read_issues
from segmend.core.errors import InputError
from segmend.core.grid import Grid
from segmend.core.masks import IGNORE, Mask
from segmend.core.regions import mask_of
from segmend.data.description import FILE, HIGHEST_VALUE
from segmend.data.folder import DataFolder
from segmend.data.regions import IGNORED


def doubtful_voxels(
    folder: DataFolder,
    place: AuditFolder,
    choice: Choice,
    given: NDArray[np.uint8],
    grid: Grid,
    labels: Collection[str],
) -> dict[str, Mask]:
    """Issues of some labels of a case, ``[*spatial]`` each, but for voxels that people were sure of.

    An issue concerns the class that the label has there and the one that the evidence has. It is no issue of these
    labels if a person was sure of the other one, or of its region.

    Args:
        folder: the data folder.
        place: the audit.
        choice: what is to become of the case.
        given: ``[*spatial]`` class indices.
        grid: of the label.
        labels: suspect labels that are not corrected.

    Raises:
        InputError: the audit has no usable probabilities or map of issues of the case.
    """
    if not labels:
        return {}
    name = choice.case.name
    evidence = Evidence(place.evidence(name))
    if not is_evidence(evidence.path, given.shape, folder.classes):
        problem = f"holds no usable probabilities of case '{name}'"
        raise InputError(evidence.path, problem, "run the same 'segmend audit' again", code="missing-file")
    settled = {label for label, decision in choice.decisions.labels.items() if decision.final}
    annotated = given != IGNORE
    if folder.regions:
        flagged = {each: _flagged(folder, place.of_region(each), choice, grid, each) for each in {*labels, *settled}}
        for each in settled:
            annotated &= flagged[each] == 0
        return {each: (flagged[each] > 0) & annotated for each in labels}
    issues = _flagged(folder, place, choice, grid)
    predicted = evidence.label()
    of_settled = [folder.objects[each][0] for each in settled]
    open_issues = (issues > 0) & annotated & ~np.isin(given, of_settled) & ~np.isin(predicted, of_settled)
    return {
        each: open_issues & (mask_of(given, folder.objects[each]) | mask_of(predicted, folder.objects[each]))
        for each in labels
    }


def _flagged(
    folder: DataFolder, place: AuditFolder, choice: Choice, grid: Grid, label: str = ""
) -> NDArray[np.integer]:
    """Issues without the regions that people were sure of."""
    issues = read_issues(place, choice.case.name, folder, grid)
    sure = [
        region.number for region in choice.decisions.regions if region.decision.final and label in ("", region.label)
    ]
    return np.where(np.isin(issues, sure), 0, issues)


def ignored_value(folder: DataFolder) -> int:
    """The label value of ignored voxels: that of dataset.json, or the next above all others.

    Raises:
        InputError: there is no value left.
    """
    if folder.ignore is not None:
        return folder.ignore
    value = max(*folder.labels.values(), *folder.values, 0) + 1
    if value > HIGHEST_VALUE:
        problem = f"has a label of the value {HIGHEST_VALUE}, so that none is left for what is ignored"
        raise InputError(folder.root / FILE, problem, "give the labels lower values", code="unsupported")
    return value


def description_with_ignore(folder: DataFolder) -> bytes:
    """dataset.json with a label 'ignore', whose value is the highest, as nnU-Net demands it."""
    if folder.ignore is not None:
        return folder.description
    content: dict[str, Any] = json.loads(folder.description.decode("utf-8-sig"))
    labels: Mapping[str, Any] = content["labels"]
    value = ignored_value(folder)
    inverse = all(isinstance(name, str) for name in labels.values())  # as the Decathlon has them
    content["labels"] = {**labels, **({str(value): IGNORED} if inverse else {IGNORED: value})}
    return (json.dumps(content, indent=4, ensure_ascii=False) + "\n").encode()
