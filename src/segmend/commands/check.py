"""Says everything that is wrong with a data folder, in one list."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from segmend.core.case import Quality, Split
from segmend.core.errors import InputError, printable
from segmend.data.check import Survey, survey_folder


def check(*, data: Path, cases: Path | None = None, json: bool = False) -> list[InputError]:
    """Open every file of a data folder and list all problems, then all remarks, then the contents of the folder.

    Problems prevent the folder from being used; label files that no case uses are among them. Remarks are legal but
    worth a look: empty labels, odd spacings, the same image twice. Nothing is written.

    Args:
        data: the data folder.
        cases: a table to use instead of ``data/cases.csv``.
        json: print ``{"problems": [{severity, where, problem, remedy}], "summary": {...}}`` instead of text.

    Returns:
        The remarks.

    Raises:
        InputError: there are problems; they have been listed by then.

    Example:
        segmend check --data data
    """
    survey = survey_folder(data, cases)
    summary = _summarise(survey)
    found = [("error", problem) for problem in survey.problems] + [("remark", remark) for remark in survey.remarks]
    if json:
        problems = [
            {
                "severity": severity,
                "code": finding.code,
                "where": finding.where,
                "problem": finding.problem,
                "remedy": finding.remedy,
            }
            for severity, finding in found
        ]
        print(dumps({"problems": problems, "summary": summary}, indent=2))
    else:
        for severity, finding in found:
            print(f"{severity}: {finding}")
        if summary:
            print(printable(_in_words(summary)))
    if survey.problems:
        count = len(survey.problems)
        raise InputError(
            data, f"{count} problem{'s' * (count > 1)} found", "solve those listed as 'error'", code="damaged"
        )
    return survey.remarks


def _summarise(survey: Survey) -> dict[str, Any] | None:
    """What the folder holds, as far as it can be read."""
    if survey.folder is None:
        return None
    grids = survey.grids.values()
    dimensions = {grid.dimensions for grid in grids}
    summary = {
        "cases": {split: {q: len(survey.folder.select(split, q)) for q in Quality} for split in Split},
        "classes": list(survey.folder.labels),
        "channels": list(survey.folder.channel_names),
        "dimensions": sorted(dimensions),
    }
    if len(dimensions) == 1:
        summary["shape"] = _range([grid.shape for grid in grids])
        summary["spacing"] = _range([grid.spacing for grid in grids])
    return summary


def _range(values: ArrayLike) -> dict[str, list[float]]:
    """The smallest and largest value along each axis."""
    array = np.asarray(values)
    return {"min": array.min(0).tolist(), "max": array.max(0).tolist()}


def _in_words(summary: dict[str, Any]) -> str:
    splits = []
    for split, qualities in summary["cases"].items():
        counts = [f"{count} {quality}" for quality, count in qualities.items() if count]
        if counts:
            splits.append(f"{split}: {', '.join(counts)}")
    total = sum(sum(qualities.values()) for qualities in summary["cases"].values())
    parts = [
        f"{total} cases ({'; '.join(splits)})",
        f"classes {', '.join(summary['classes'])}",
        f"channels {', '.join(summary['channels'])}",
    ]
    if "shape" in summary:
        parts += [f"{_span(summary['shape'])} voxels", f"{_span(summary['spacing'])} mm"]
    return " | ".join(parts)


def _span(limits: dict[str, list[float]]) -> str:
    sides = [
        f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g}-{high:.4g}"
        for low, high in zip(limits["min"], limits["max"], strict=True)
    ]
    return " x ".join(sides)
