"""Decisions as tables: one of all readers together, which 'segmend correct' applies, and one of each reader."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from segmend.core.progress import say
from segmend.core.tables import write_table
from segmend.data.names import path_part
from segmend.review.decisions import REPLACE, Decision
from segmend.review.findings import Findings
from segmend.review.readings import combine, expanded
from segmend.review.store import ReviewStore

TABLE = "decisions.csv"
FOLDER = "review"
"""Folder in that of the audit for all that a review writes but the decisions themselves and their table."""

COLUMNS = ("case", "label", "decision", "audit", "region", "reader", "comment", "time", "file")


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        file: the table of all readers together.
        decisions: its rows.
        counts: how many rows there are of each decision.
        disagreed: on how many labels and regions readers differ; these are unsure.
    """

    file: Path
    decisions: Sequence[Decision]
    counts: Mapping[str, int]
    disagreed: int

    @property
    def in_words(self) -> str:
        """The numbers, as a sentence."""
        words = {"accept": "accepted", "reject": "rejected", "unsure": "unsure", REPLACE: "replaced"}
        parts = [f"{self.counts[key]} {word}" for key, word in words.items() if key != REPLACE or self.counts[key]]
        more = f"; readers disagree on {self.disagreed}" if self.disagreed else ""
        return f"{', '.join(parts)}{more}"


def export(store: ReviewStore, findings: Findings, audit: Path) -> Export:
    """Write ``decisions.csv`` and a table for each reader into the folder of an audit.

    Args:
        store: the decisions.
        findings: of the audit.
        audit: its folder.

    Raises:
        InputError: a file cannot be written.
    """
    decisions = [each for each in store.decisions() if each.subject.case in findings.labels_of]
    for reader in dict.fromkeys(each.reader for each in decisions):
        own = [each for each in decisions if each.reader == reader]
        file = audit / FOLDER / f"decisions_{path_part(reader)}.csv"
        write_table(file, decisions_table(_of_reader(own, findings), findings))
    combined = combine(decisions, findings.labels_of)
    write_table(audit / TABLE, decisions_table(combined.decisions, findings))
    counts = Counter(each.decision for each in combined.decisions)
    return Export(audit / TABLE, combined.decisions, counts, combined.disagreed)


def _of_reader(decisions: Sequence[Decision], findings: Findings) -> list[Decision]:
    """Without decisions on labels of cases that the reader gave a new label file for."""
    said = set(expanded(decisions, findings.labels_of))
    return [each for each in decisions if each.decision == REPLACE or each in said]


def decisions_table(decisions: Iterable[Decision], findings: Findings) -> pd.DataFrame:
    """The rows of ``decisions.csv``: labels in the order of the audit, each before its regions.

    Args:
        decisions: of one reader, or of all together.
        findings: of the audit.
    """

    def place(decision: Decision) -> tuple[int, int]:
        subject = decision.subject
        label = subject.label or findings.labels_of[subject.case][0]
        return findings.rows[subject.case, label], subject.region or 0

    rows = [
        (
            *(each.subject.case, each.subject.label, each.decision, findings.mark),
            *("" if each.subject.region is None else str(each.subject.region), each.reader),
            *(" ".join(each.comment.split()), each.time, each.file),
        )
        for each in sorted(decisions, key=place)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=str)


def next_line(data: Path, audit: Path, cases: Path | None = None) -> str:
    """The command to run next, as one types it in a shell."""
    copy = data.resolve()
    words = ["segmend", "correct", "--data", str(data), "--audit", str(audit)]
    words += ["--out", str(copy.with_name(f"{copy.name}_corrected")), "--decisions", str(audit / TABLE)]
    return shlex.join([*words, *(["--cases", str(cases)] if cases else [])])


def tell(written: Export, line: str) -> None:
    """Say at the end of a review what was decided, and what to do next."""
    if not written.decisions:
        say("Nothing was decided.")
        return
    say(f"{written.in_words}. Written to {written.file}")
    say(f"To make a corrected copy of the data: {line}")
