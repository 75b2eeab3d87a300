"""A random sample of labels, stratified by the Dice that the audit expects, and its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.core.errors import InputError, did_you_mean
from segmend.data.tables import Row, Table, read_table
from segmend.functional.stratified import Allocation, allocate, divide, probability_below

Key = tuple[str, str]
"""A label: its case, and its class or region."""

TO_FILL: Final = ("dice", "erroneous")
"""Columns for what the reader finds."""
NOTES: Final = ("reader", "comment", "time")
"""Columns that a reader may add."""

_LABELS_A_STRATUM = 5
"""Of the sample; with fewer, less is known of each stratum than dividing gains."""
_LABELS_A_CLASS = 2 * _LABELS_A_STRATUM
"""With fewer, a class would have a single stratum, and the expected Dice be of no use."""
_MOST_STRATA = 5
_REMEDY = "give the table that 'segmend select' wrote with `purpose estimate`"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledLabel:
    """A row of the table of a sample.

    Attributes:
        order: in which to check; a part of the table from its start is a random sample, too.
        case: the case's name.
        label: name of the class or region.
        stratum: number of its stratum, from 1.
        stratum_class: class that the stratum is of; "" if it holds all classes.
        stratum_labels: N_h, labels that the stratum has.
        stratum_sample: n_h, how many of them were drawn.
        inclusion_probability: n_h / N_h, with which this label was drawn.
        population: N, labels that all strata have together.
        below: true Dice below which a label counts as erroneous.
        audit: identifier of the audit.
        dice: Dice of the given label to the right one, 0..1, as the reader finds it; "" before.
        erroneous: yes or no, in the place of the Dice; "" before.
    """

    order: int
    case: str
    label: str
    stratum: int
    stratum_class: str
    stratum_labels: int
    stratum_sample: int
    inclusion_probability: float
    population: int
    below: float
    audit: str
    dice: str = ""
    erroneous: str = ""


@dataclass(frozen=True, slots=True)
class SampleStratum:
    """A stratum of a population.

    Attributes:
        number: from 1.
        label: class that it is of; "" for all.
        size: N_h.
        low: smallest expected Dice in it.
        high: largest.
        checked: n_h.
    """

    number: int
    label: str
    size: int
    low: float
    high: float
    checked: int


def draw_sample(
    rows: pd.DataFrame, budget: int, below: float, allocation: Allocation, seed: int, audit: str
) -> tuple[list[SampledLabel], list[SampleStratum]]:
    """Draw labels at random from strata of similar expected Dice.

    Each class has strata of its own if the budget allows 10 labels for each class, or all labels; only then is there an
    estimate by class. The table does not hold the expected Dice, which would influence the reader.

    Args:
        rows: the population, labels of ``audit.csv``.
        budget: how many to draw, at most all.
        below: true Dice below which a label counts as erroneous.
        allocation: over the strata.
        seed: of the random numbers.
        audit: its identifier.

    Returns:
        The drawn labels in the order in which to check them, and the strata.
    """
    rows = rows.sort_values(["label", "case"], kind="stable").reset_index(drop=True)
    expected = rows["expected_dice"].to_numpy(dtype=float)
    probability = probability_below(expected, below)
    strata = _strata(rows["label"].tolist(), expected, probability, budget)
    by_class = _by_class(rows["label"].tolist(), budget)
    sizes = np.bincount(strata)
    means = np.bincount(strata, weights=probability) / sizes
    numbers = allocate(sizes, np.sqrt(means * (1 - means)), budget, allocation)
    generator = np.random.default_rng(seed)
    drawn: list[tuple[float, int]] = []
    described = []
    for number, (size, count) in enumerate(zip(sizes, numbers, strict=True)):
        members = np.flatnonzero(strata == number)
        # Evenly spread over the order, so that of each stratum about the same fraction is checked first.
        places = (np.arange(count) + generator.random(count)) / count
        drawn += zip(places.tolist(), generator.permutation(members)[:count].tolist(), strict=True)
        label = rows["label"].iloc[members[0]] if by_class else ""
        low, high = float(expected[members].min()), float(expected[members].max())
        described.append(SampleStratum(number + 1, label, int(size), low, high, int(count)))
    sample = []
    for order, (_, index) in enumerate(sorted(drawn), start=1):
        own = described[strata[index]]
        sample.append(
            SampledLabel(
                order=order,
                case=rows["case"].iloc[index],
                label=rows["label"].iloc[index],
                stratum=own.number,
                stratum_class=own.label,
                stratum_labels=own.size,
                stratum_sample=own.checked,
                inclusion_probability=own.checked / own.size,
                population=len(rows),
                below=below,
                audit=audit,
            )
        )
    return sample, described


def _by_class(labels: Sequence[str], budget: int) -> bool:
    return budget >= min(_LABELS_A_CLASS * len(set(labels)), len(labels))


def _strata(
    labels: Sequence[str], expected: NDArray[np.float64], probability: NDArray[np.float64], budget: int
) -> NDArray[np.int64]:
    """Number of the stratum of each label, from 0, classes one after the other."""
    groups = pd.factorize(np.array(labels))[0] if _by_class(labels, budget) else np.zeros(len(labels), np.int64)
    count = int(groups.max()) + 1
    levels = min(_MOST_STRATA, max(1, budget // (_LABELS_A_STRATUM * count)))
    strata = np.zeros(len(labels), np.int64)
    start = 0
    spreads = np.sqrt(probability * (1 - probability))
    for group in range(count):
        own = groups == group
        strata[own] = start + divide(expected[own], spreads[own], levels)
        start = int(strata[own].max()) + 1
    return strata


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample that was read.

    Attributes:
        path: of its table.
        rows: of the table, by label.
        below: true Dice below which a label counts as erroneous.
        strata: of each label.
        sizes: labels that each stratum has.
        classes: class that each stratum is of; "" for all.
    """

    path: Path
    rows: Mapping[Key, Row]
    below: float
    strata: Mapping[Key, int]
    sizes: Mapping[int, int]
    classes: Mapping[int, str]


_COLUMNS: Final = tuple(SampledLabel.__dataclass_fields__)
_NEEDED: Final = tuple(name for name in _COLUMNS if name not in ("order", "inclusion_probability", *TO_FILL))


def is_sample(table: Table) -> bool:
    """Whether a table is that of a sample, and not only of what was found."""
    return "stratum" in table.columns


def read_sample(path: Path, audit: str) -> Sample:
    """Read the table of a sample.

    Args:
        path: the table.
        audit: identifier of the audit that it must be of.

    Raises:
        InputError: it cannot be read, is of another audit, or contradicts itself.
    """
    table = read_table(path, (*_COLUMNS, *NOTES), remedy=_REMEDY)
    for column in _NEEDED:
        if column not in table.columns:
            raise InputError(path, f"has no column '{column}'", _REMEDY, code="missing-value")
    require_known(path, table, (*_COLUMNS, *NOTES))
    rows: dict[Key, Row] = {}
    strata: dict[Key, int] = {}
    sizes: dict[int, int] = {}
    classes: dict[int, str] = {}
    drawn: dict[int, int] = {}
    totals: set[tuple[float, int]] = set()
    for row in table.rows:
        key = row.cells["case"], row.cells["label"]
        if key in rows:
            problem = f"case '{key[0]}', label '{key[1]}' stands there twice"
            raise InputError(row.where, problem, "keep one line", code="duplicate")
        if row.cells["audit"] != audit:
            problem = f"is of the audit {row.cells['audit'] or '(none)'}, not of {audit}"
            raise InputError(row.where, problem, "give the sample of this audit, or draw another one", code="mismatch")
        number = _whole(row, "stratum")
        stratum = _whole(row, "stratum_labels"), row.cells["stratum_class"], _whole(row, "stratum_sample")
        known = sizes.setdefault(number, stratum[0]), classes.setdefault(number, stratum[1])
        if (*known, drawn.setdefault(number, stratum[2])) != stratum:
            problem = f"describes stratum {number} in another way than the lines before"
            raise InputError(row.where, problem, "restore the table", code="damaged")
        rows[key], strata[key] = row, number
        totals.add((row.number("below"), _whole(row, "population")))
    counts = Counter(strata.values())
    complete = len(totals) == 1 and sum(sizes.values()) == next(iter(totals))[1] and counts == drawn
    if not complete or not all(counts[number] <= size for number, size in sizes.items()):
        problem = "is not the whole sample, or lines of it were changed"
        remedy = "keep all of its lines, and leave 'dice' empty where nothing was checked"
        raise InputError(path, problem, remedy, code="damaged")
    ((below, _),) = totals
    if not 0 < below <= 1:
        raise InputError(path, f"below is {below:g}", "restore the table", code="damaged")
    return Sample(path, rows, below, strata, sizes, classes)


def require_known(path: Path, table: Table, known: Sequence[str]) -> None:
    """Check that a table has no unknown columns: what is written there would be lost.

    Raises:
        InputError: it has.
    """
    for column in table.columns:
        if column not in known:
            raise InputError(
                path, f"has an unknown column '{column}'", did_you_mean(column, known), code="unknown-name"
            )


def filled_in(path: Path) -> bool:
    """Whether a file is the table of a sample in which a reader has written something."""
    if not path.is_file():
        return False
    try:
        table = read_table(path, (*_COLUMNS, *NOTES))
    except InputError:
        return False
    return any(row.cells.get(column) for row in table.rows for column in (*TO_FILL, *NOTES))


def in_words(strata: Sequence[SampleStratum]) -> Iterator[str]:
    """The strata, line by line."""
    for each in strata:
        what = f"labels of '{each.label}'" if each.label else "labels"
        dice = f"expected Dice {each.low:.2f} to {each.high:.2f}"
        yield f"stratum {each.number}: {each.size} {what}, {dice}; {each.checked} to check"


def _whole(row: Row, column: str) -> int:
    number = row.number(column)
    if not (number.is_integer() and number >= 1):
        problem = f"{column} is '{row.cells[column]}', which is not a whole number from 1"
        raise InputError(row.where, problem, "restore the table", code="damaged")
    return int(number)
