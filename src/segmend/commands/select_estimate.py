"""segmend select: the estimate from a checked sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.audit.decisions import read_decisions
from segmend.audit.selection.candidates import (
    decided_labels,
)
from segmend.audit.selection.checked import KNOWN, Outcomes, labels_in, outcomes_of_labels, outcomes_of_table
from segmend.audit.selection.estimate import EstimateRow, estimate
from segmend.audit.selection.estimate import in_words as estimates_in_words
from segmend.audit.selection.sample import Sample, is_sample, read_sample
from segmend.commands.correct_choices import Choice
from segmend.commands.correct_drawing import draw
from segmend.commands.select_audit import OpenedAudit, check_out
from segmend.core.case import Case, Quality
from segmend.core.paths import FOLDER, is_folder, kind_of
from segmend.core.progress import say, warn
from segmend.core.tables import write_rows
from segmend.data.image import Grid
from segmend.data.tables import read_table


def estimate_from(opened: OpenedAudit, checked: Path, sample: Path, below: float | None, out: Path) -> pd.DataFrame:
    """Estimate the fraction of erroneous labels, and write it.

    Args:
        opened: the audit.
        checked: what was found: a table or a folder.
        sample: the table of the sample, where ``checked`` is not itself one.
        below: Dice below which a label is erroneous; None for the limit of the sample.
        out: the table to write.

    Returns:
        The table as written.

    Raises:
        InputError: a table or label cannot be used, or nothing of a stratum was checked.
    """
    given = None
    if kind_of(checked) != FOLDER:
        given = read_table(checked, KNOWN, remedy="give the table in which you have written what you found")
    path = checked if given is not None and is_sample(given) else sample
    drawn = read_sample(path, opened.place.mark)
    limit = drawn.below if below is None else below
    if given is not None and "decision" not in given.columns:
        found = outcomes_of_table(checked, given, drawn, limit)
    else:
        found = _compared(opened, checked, drawn, limit)
    check_out(out, checked, sample)
    noisy = opened.table[opened.table["quality"] == Quality.NOISY]
    rows = estimate(drawn, found, noisy, limit)
    table = write_rows(out, EstimateRow, rows)
    _tell_about(found, len(drawn.rows))
    for line in estimates_in_words(rows):
        say(line)
    say(f"estimates: {out}")
    return table


def _compared(opened: OpenedAudit, checked: Path, drawn: Sample, below: float) -> Outcomes:
    """What right labels say, in a folder or as people decided."""
    folder = opened.needed_folder()
    if kind_of(checked) == FOLDER and is_folder(checked):
        return outcomes_of_labels(drawn.rows, labels_in(checked, drawn, folder), folder, opened.settings, below)
    decisions = read_decisions(checked, opened.place, opened.table)
    decided = decided_labels(opened.table, decisions)

    def right(case: Case, given: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
        choice = Choice(case, {}, decisions[case.name], frozenset(), {}, frozenset())
        return draw(folder, opened.place, choice, given, grid).label

    inside = decided & drawn.rows.keys()
    found = outcomes_of_labels(inside, right, folder, opened.settings, below)
    return replace(found, outside=len(decided - inside))


def _tell_about(found: Outcomes, drawn: int) -> None:
    left = drawn - len(found.erroneous)
    if left:
        warn(
            f"{left} of the {drawn} labels of the sample are not checked. The estimate is unbiased only if what was "
            "left out does not depend on how good the label is: check in the order of the table."
        )
    if found.outside:
        say(f"{found.outside} other checked labels are left out, as they were not drawn at random")
