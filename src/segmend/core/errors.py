"""The only kind of error that a user should see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

_LISTED = 50

Code = Literal[
    "missing-file",
    "unreadable",
    "damaged",
    "unsupported",
    "invalid-value",
    "invalid-name",
    "unknown-name",
    "missing-value",
    "duplicate",
    "mismatch",
    "no-data",
    "changed-data",
    "already-exists",
    "unfinished",
    "in-use",
    "not-writable",
    "no-space",
    "too-large",
    "environment",
    "not-finite",
    "remark",
]
"""The kind of a problem, for programs and tests: wording may change, codes do not."""

CODES: Mapping[Code, str] = {
    "missing-file": "a file or folder is not there",
    "unreadable": "the system does not let it be read: no permission, a failing disk, no regular file",
    "damaged": "content that is not of its own format, truncated, or contradicts itself",
    "unsupported": "content that is valid, but of a kind that is not read or handled",
    "invalid-value": "an argument or entry of the wrong type, or out of its range",
    "invalid-name": "a name of a case, class, channel or file that cannot be used",
    "unknown-name": "a name of something that does not exist; the remedy gives the nearest ones",
    "missing-value": "an argument, column or entry that is needed and was not given",
    "duplicate": "something that may occur once occurs twice",
    "mismatch": "two things that were given do not fit each other",
    "no-data": "nothing to work on",
    "changed-data": "data have changed since results were made of them",
    "already-exists": "the place of an output holds something else",
    "unfinished": "a result that its command has not finished",
    "in-use": "another process is writing there",
    "not-writable": "an output cannot be written there",
    "no-space": "the disk is full",
    "too-large": "it needs more memory than there is",
    "environment": "the machine or installation lacks something: a package, a device, a launcher",
    "not-finite": "a training or prediction gave values that are NaN or infinite",
    "remark": "valid, but unusual; reported by 'segmend check' and never raised",
}
"""What each code stands for."""


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


class InputError(ValueError):
    """Something that the user gave cannot be used; the message says what, why, and what to do.

    A Python caller catches a ``ValueError`` and looks at ``code``. Arguments go by their names in Python, also nested
    ones (``iterations``, ``optimisation.clip``): as ``where``, and between backquotes in problem and remedy, as in
    "choose another `out`". The command line writes both as flags (``segmend.cli.flags``), Python as they are.

    Args:
        where: the file (a path), or the name of an argument.
        problem: what is wrong with it, with the offending value.
        remedy: what the user can do about it.
        details: shown below, a line each, such as all files that have the problem.
        code: the kind of problem; the default is for methods and networks of users.

    The message holds no control characters; the attributes hold the names as they are.

    Attributes:
        where: as text.
        is_path: whether it was given as a path, which is never taken for the name of an argument.
        problem: as given.
        remedy: as given.
        details: as given.
        code: as given.
    """

    def __init__(
        self,
        where: object,
        problem: str,
        remedy: str,
        details: Iterable[str] = (),
        *,
        code: Code = "invalid-value",
    ) -> None:
        self.where, self.is_path = str(where), isinstance(where, os.PathLike)
        self.problem, self.remedy, self.details, self.code = problem, remedy, tuple(details), code
        super().__init__(message(self.where, problem, remedy, self.details))

    def __reduce__(self) -> tuple[Any, ...]:
        """As an exception is pickled by its message alone: the same error in another process."""
        where = Path(self.where) if self.is_path else self.where
        return partial(type(self), code=self.code), (where, self.problem, self.remedy, self.details)

    def but(self, *, where: object = None, problem: str | None = None, remedy: str | None = None) -> Self:
        """The same error with another place, problem or remedy."""
        new = type(self)(
            self.where if where is None else where,
            self.problem if problem is None else problem,
            self.remedy if remedy is None else remedy,
            self.details,
            code=self.code,
        )
        if where is None:
            new.is_path = self.is_path
        return new


def message(where: str, problem: str, remedy: str, details: Iterable[str] = ()) -> str:
    """The text of an error: place, problem and remedy in one line, and the details below it."""
    advice = remedy[:1].upper() + remedy[1:]
    line = f"{where}: {problem}. {advice if advice.endswith(('.', '?')) else advice + '.'}"
    return "\n  ".join(map(printable, [line, *details]))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest known ones, or else a list of them."""
    import difflib

    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    more = ", ..." if len(known) > _LISTED else ""
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known[:_LISTED])}{more}"
