"""The one kind of error that a user should ever read."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LISTED = 50

_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for line breaks and tabs, and those that change the direction of text."""


class InputError(Exception):
    """Something that the user gave cannot be used; the message says what, why, and what to do.

    Args:
        where: the file or argument.
        problem: what is wrong with it, with the offending value.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        advice = remedy[:1].upper() + remedy[1:]
        message = f"{where}: {problem}. {advice if advice.endswith(('.', '?')) else advice + '.'}"
        super().__init__(printable(message))
        self.where = str(where)
        self.problem = problem
        self.remedy = remedy


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest known ones, or else a list of them."""
    import difflib

    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    more = ", ..." if len(known) > _LISTED else ""
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known[:_LISTED])}{more}"


def printable(text: str) -> str:
    """The text with control characters as escapes: a name must not be able to steer the terminal."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
