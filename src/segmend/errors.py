"""The one kind of error that a user should ever read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 50


class InputError(Exception):
    """Something that the user gave cannot be used; the message says what, why, and what to do.

    Args:
        where: the file or argument.
        problem: what is wrong with it, with the offending value.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        advice = remedy[:1].upper() + remedy[1:]
        super().__init__(f"{where}: {problem}. {advice if advice.endswith(('.', '?')) else advice + '.'}")
        self.where = str(where)
        self.problem = problem
        self.remedy = remedy


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest known ones, or else a list of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    more = ", ..." if len(known) > _LISTED else ""
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known[:_LISTED])}{more}"
