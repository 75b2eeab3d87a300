"""Names of cases, classes, channels and annotators: which can be used, and how they become parts of file names.

Names come from tables, JSON and file names of others. Every name is checked once, where it is read, and every
name that becomes part of a path goes through ``path_part``.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator

from segmend.core.errors import InputError

LONGEST_NAME = 200
"""Bytes (UTF-8) of a name: what file systems allow, less a channel, an ending and the prefix of a temporary file."""

LONGEST_FILE_NAME = 215
"""Bytes (UTF-8) of a file name: the 255 that file systems allow, less the prefix of a temporary file."""

_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that no name needs: control characters, lone surrogates, separators of lines and paragraphs."""

_SPECIAL = frozenset('%/\\:*?"<>|')
"""Separators and wildcards of any file system, and the mark of an encoded character."""

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever their ending."""


def canonical(name: str) -> str:
    """The name in the one Unicode form (NFC) in which names are compared; macOS writes file names in another."""
    return unicodedata.normalize("NFC", name)


def confusable(name: str) -> str:
    """A common form of all names that some file system treats as one: those that differ in capitals, for example."""
    return canonical(canonical(name).casefold())


def check_name(where: object, kind: str, name: object) -> str:
    """Check that a name of a case, class, channel or annotator can be shown, compared and written to a table.

    Args:
        where: the file or line that the name comes from.
        kind: what it names, such as "class".
        name: as it was given.

    Returns:
        Its canonical form.

    Raises:
        InputError: it is no text or empty, begins or ends with a blank, holds control characters or lone
            surrogates, or is longer than ``LONGEST_NAME``.
    """
    if not isinstance(name, str):
        raise InputError(
            where,
            f"{kind} is {_short(name)}, which is not a name",
            "write the name in double quotes",
            code="invalid-name",
        )
    bad = next((letter for letter in name if unicodedata.category(letter) in _NO_TEXT), None)
    if bad is not None:
        remedy = "rename it, and use printable characters (UTF-8) only"
        raise InputError(
            where, f"{kind} {_short(name)} holds the character U+{ord(bad):04X}", remedy, code="invalid-name"
        )
    if not name.strip():
        raise InputError(where, f"{kind} {name!r} is empty", f"give every {kind} a name", code="invalid-name")
    if name != name.strip():
        raise InputError(
            where, f"{kind} {_short(name)} begins or ends with a blank", "remove the blank", code="invalid-name"
        )
    size = len(canonical(name).encode())
    if size > LONGEST_NAME:
        problem = f"{kind} {_short(name)} has {size} bytes, but file names hold {LONGEST_NAME}"
        raise InputError(where, problem, "give a shorter name", code="invalid-name")
    return canonical(name)


def check_folder_name(where: object, kind: str, name: object) -> str:
    """``check_name`` for a name that must be one folder or file on every file system as it is, such as an annotator.

    Raises:
        InputError: also where the name is a path, or holds characters that some file systems refuse.
    """
    checked = check_name(where, kind, name)
    if path_part(checked) != checked and path_part(checked) != checked.replace("%", "%25"):
        problem = f"{kind} {_short(checked)} cannot be the name of a folder"
        remedy = 'give a name without the characters / \\ : * ? " < > |, and without a dot at either end'
        raise InputError(where, problem, remedy, code="invalid-name")
    return checked


def path_part(name: str) -> str:
    r"""The name as a part of a path: never a separator, nothing that a file system refuses, different for each name.

    Letters, digits and most signs stay. ``/ \ : * ? " < > | %``, control characters, a leading or trailing dot, a
    trailing blank and the first letter of names that Windows keeps for devices become ``%XX``, as in web
    addresses: ``GTV/CTV`` becomes ``GTV%2FCTV``. Names of the same ``canonical`` form become the same.
    """
    name = canonical(name)
    if not name:
        return "%"
    last = len(name) - 1
    reserved = _RESERVED.match(name) is not None
    return "".join(
        _encoded(letter)
        if letter in _SPECIAL
        or unicodedata.category(letter) in _NO_TEXT
        or (letter == "." and position in (0, last))
        or (letter == " " and position == last)
        or (reserved and position == 0)
        else letter
        for position, letter in enumerate(name)
    )


def check_file_name(where: object, name: str) -> str:
    """Check that a file name made of several names is not too long for a file system.

    Returns:
        The same name.

    Raises:
        InputError: it has more than ``LONGEST_FILE_NAME`` bytes.
    """
    size = len(os.fsencode(name))
    if size > LONGEST_FILE_NAME:
        problem = f"the file name {_short(name)} would have {size} bytes, but {LONGEST_FILE_NAME} are possible"
        raise InputError(where, problem, "give shorter names", code="invalid-name")
    return name


def clashes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that some file system treats as one, as they differ in capitals or Unicode form only.

    Yields:
        The first name of each kind and every later one.
    """
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(confusable(name), name)
        if other != name:
            yield other, name


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))


def _short(value: object) -> str:
    """The value as a literal in printable characters, cut in the middle where it is long."""
    text = ascii(value) if not (isinstance(value, str) and value.isprintable()) else f"'{value}'"
    return text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}"
