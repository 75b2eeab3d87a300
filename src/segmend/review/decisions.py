"""What readers decide: the words of a decision, what it is about, and who took it."""

from __future__ import annotations

from dataclasses import dataclass

from segmend.core.errors import InputError
from segmend.data.names import check_name

ACCEPT, REJECT, UNSURE, REPLACE = "accept", "reject", "unsure", "replace"

DECISIONS = (ACCEPT, REJECT, UNSURE)
"""What a reader may say of a proposal; "" takes it back, and ``REPLACE`` is said of a whole case."""

LONGEST_READER = 100
"""Characters of a reader's name, which becomes the name of a file."""

LONGEST_COMMENT = 4000
"""Characters of a comment."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a decision is about.

    Attributes:
        case: the case's name.
        label: name of the class or region; "" for all of the case, which a new label file is about.
        region: number of a region of ``regions.csv``; None for the whole label.
    """

    case: str
    label: str
    region: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that is in force.

    Attributes:
        subject: what it is about.
        reader: who took it.
        decision: accept, reject, unsure or replace.
        comment: as the reader wrote it.
        time: when, in UTC and ISO 8601.
        file: the new label file of a replacement, relative to the audit's folder, ``/`` between its parts.
    """

    subject: Subject
    reader: str
    decision: str
    comment: str = ""
    time: str = ""
    file: str = ""


def check_reader(name: object) -> str:
    """The canonical form of a reader's name.

    Raises:
        InputError: it is no name, or a long one.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError("reader", "has no name", "give the name of the person who decides", code="missing-value")
    checked = check_name("reader", "reader", name.strip())
    if len(checked) > LONGEST_READER:
        problem = f"has a name of {len(checked)} characters"
        raise InputError("reader", problem, f"give at most {LONGEST_READER}", code="invalid-name")
    return checked
