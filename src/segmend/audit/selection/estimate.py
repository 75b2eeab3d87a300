"""The fraction of erroneous labels that a checked sample gives, altogether and by class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from segmend.audit.selection.checked import Outcomes
from segmend.audit.selection.sample import Sample
from segmend.core.errors import InputError
from segmend.functional.stratified import CONFIDENCE, Stratum, estimate_fraction

OVERALL = "overall"
"""Value of the column ``label`` in the row for all labels together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRow:
    """A row of the table of estimates.

    Attributes:
        label: name of the class or region, or "overall".
        labels: labels that the estimate is of.
        checked: how many of them were checked.
        erroneous: how many of these are erroneous.
        fraction: estimated fraction of erroneous labels, 0..1.
        standard_error: of the fraction; NaN where a stratum has a single checked label.
        low: lower limit of the 95 % confidence interval.
        high: upper limit.
        expected: fraction whose expected Dice is below the limit, by the audit alone; NaN if that is not known.
        below: true Dice below which a label counts as erroneous.
    """

    label: str
    labels: int
    checked: int
    erroneous: int
    fraction: float
    standard_error: float
    low: float
    high: float
    expected: float
    below: float


def estimate(sample: Sample, outcomes: Outcomes, audited: pd.DataFrame, below: float) -> list[EstimateRow]:
    """Estimate the fraction of erroneous labels.

    Args:
        sample: what was drawn.
        outcomes: what was found.
        audited: labels of ``audit.csv`` that the sample was drawn from.
        below: Dice below which a label counts as erroneous.

    Returns:
        All labels first, then each class if the strata are of classes and there are several.

    Raises:
        InputError: no label of a stratum was checked.
    """
    strata: dict[int, Stratum] = {}
    for number, size in sorted(sample.sizes.items()):
        drawn = [key for key, own in sample.strata.items() if own == number]
        verdicts = [outcomes.erroneous[key] for key in drawn if key in outcomes.erroneous]
        if not verdicts:
            case, label = drawn[0]
            problem = f"has no checked label of stratum {number}, so that nothing is known of its {size} labels"
            remedy = f"check one, such as case '{case}', label '{label}'"
            raise InputError(sample.path, problem, remedy, code="missing-value")
        strata[number] = Stratum(size, len(verdicts), sum(verdicts))
    rows = [_row(OVERALL, list(strata.values()), audited, below)]
    classes = list(dict.fromkeys(sample.classes[number] for number in strata))
    if len(classes) > 1:
        for name in classes:
            own = [stratum for number, stratum in strata.items() if sample.classes[number] == name]
            rows.append(_row(name, own, audited[audited["label"] == name], below))
    return rows


def in_words(rows: Sequence[EstimateRow]) -> Iterator[str]:
    """The estimates, line by line."""
    width = max(len(row.label) for row in rows)
    yield f"labels with a true Dice below {rows[0].below:g}, estimated with {100 * CONFIDENCE:g} % confidence interval:"
    for row in rows:
        error = "" if math.isnan(row.standard_error) else f", standard error {100 * row.standard_error:.1f}"
        yield (
            f"  {row.label:<{width}}  {100 * row.fraction:.1f} % ({100 * row.low:.1f} to {100 * row.high:.1f}{error}); "
            f"{row.erroneous} of {row.checked} checked are erroneous, of {row.labels} labels"
        )


def _row(label: str, strata: Sequence[Stratum], audited: pd.DataFrame, below: float) -> EstimateRow:
    found = estimate_fraction(strata)
    return EstimateRow(
        label=label,
        labels=sum(stratum.size for stratum in strata),
        checked=sum(stratum.checked for stratum in strata),
        erroneous=sum(stratum.found for stratum in strata),
        fraction=found.fraction,
        standard_error=found.standard_error,
        low=found.low,
        high=found.high,
        expected=float((audited["expected_dice"] < below).mean()) if len(audited) else math.nan,
        below=below,
    )
