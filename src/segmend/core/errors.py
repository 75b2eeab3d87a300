"""The only kind of error that a user should see."""

from __future__ import annotations

from collections.abc import Iterable

_LISTED = 50


def printable(text: str, keep: str = "") -> str:
    """The text with every invisible character, such as ESC or a change of direction, as its escape code.

    Names come from files of others: printed unescaped they could clear a terminal, colour it or forge lines.

    Args:
        text: anything.
        keep: characters that are kept as they are, such as line breaks.
    """
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


class InputError(Exception):
    """Something that the user gave cannot be used; the message says what, why, and what to do.

    Args:
        where: the file or argument.
        problem: what is wrong with it, with the offending value.
        remedy: what the user can do about it.
        details: shown below, a line each, such as all files that have the problem.

    The message holds no control characters; the attributes hold the names as they are.
    """

    def __init__(self, where: object, problem: str, remedy: str, details: Iterable[str] = ()) -> None:
        advice = remedy[:1].upper() + remedy[1:]
        message = f"{where}: {problem}. {advice if advice.endswith(('.', '?')) else advice + '.'}"
        super().__init__("\n  ".join(map(printable, [message, *details])))
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
