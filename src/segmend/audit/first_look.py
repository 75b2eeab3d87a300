"""Checks that need no model."""

from __future__ import annotations

from collections.abc import Sequence

from segmend.audit.checks import Finding, check_label
from segmend.audit.cohort import CaseSummary, check_cohort
from segmend.core.case import Case
from segmend.core.progress import track
from segmend.data.check import load_case
from segmend.data.folder import DataFolder


def first_look(folder: DataFolder, cases: Sequence[Case]) -> tuple[list[Finding], dict[str, CaseSummary]]:
    """Read every case once.

    Returns:
        The hints, and a summary of each case by name.

    Raises:
        InputError: a case cannot be used.
    """
    names = list(folder.labels)
    findings: list[Finding] = []
    summaries: dict[str, CaseSummary] = {}
    for case in track(cases, "checking labels"):
        loaded = load_case(case, folder)
        assert loaded.label is not None
        findings += check_label(case.name, names, loaded.image, loaded.label, loaded.grid)
        summaries[case.name] = CaseSummary.of(loaded.image, loaded.label, loaded.grid)
    return [*findings, *check_cohort(names, summaries)], summaries
