"""Files and folders given by users: no existing one counts as absent, and only a file counts as a file."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from segmend.core.errors import InputError

FILE = "a file"
FOLDER = "a folder"

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_KINDS = (
    (stat.S_ISREG, FILE),
    (stat.S_ISDIR, FOLDER),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def kind_of(path: Path) -> str | None:
    """What has a name: ``FILE``, ``FOLDER`` or something else, in words; None if nothing has it.

    Raises:
        InputError: a broken link, or the kind cannot be determined.
    """
    mode = _mode(path)
    if mode is None:
        return None
    return next((name for has_kind, name in _KINDS if has_kind(mode)), "something else")


def is_file(path: Path) -> bool:
    """Whether there is a file that can be read; False only if nothing has this name.

    Raises:
        InputError: what has the name is a link that leads nowhere, a folder, a pipe or the like, or cannot be read.
    """
    kind = kind_of(path)
    if kind not in (None, FILE):
        raise InputError(
            path, f"is {kind}, but a file is expected there", "put the file there, or rename it", code="unreadable"
        )
    if kind and not os.access(path, os.R_OK):
        raise _forbidden(path)
    return kind is not None


def is_folder(path: Path) -> bool:
    """Whether there is a folder that can be listed; False only if nothing has this name.

    Raises:
        InputError: what has the name is a link that leads nowhere, a file or the like, or cannot be listed.
    """
    kind = kind_of(path)
    if kind not in (None, FOLDER):
        raise InputError(path, f"is not a folder, but {kind}", "put a folder there, or rename it", code="unreadable")
    if kind and not os.access(path, os.R_OK | os.X_OK):
        raise _forbidden(path)
    return kind is not None


def check_file(path: Path, remedy: str = "check the name and the folder") -> None:
    """Check that there is a file that can be read.

    Raises:
        InputError: there is none.
    """
    if not is_file(path):
        raise InputError(path, "does not exist", remedy, code="missing-file")


def entries(folder: Path) -> list[Path]:
    """What a folder holds, in the order of names, hidden files excluded; nothing, if there is no such folder.

    Raises:
        InputError: as in ``is_folder``.
    """
    if not is_folder(folder):
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from error


def read_bytes(path: Path, remedy: str = "check the name and the folder") -> bytes:
    """What a file holds.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    check_file(path, remedy)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_json(path: Path, remedy: str = "check the name and the folder") -> dict[str, Any]:
    """Read the object in a JSON file.

    Args:
        path: the file.
        remedy: what to do if there is none.

    Raises:
        InputError: there is no such file, it cannot be read, is not JSON, holds no object, or one with a key twice.
    """
    return parse_json(path, read_bytes(path, remedy))


def parse_json(path: Path, content: bytes, form: str = "{...}") -> dict[str, Any]:
    """The object in the content of a JSON file.

    Args:
        path: the file, for messages.
        content: what it holds.
        form: what the object should look like.

    Raises:
        InputError: it is not JSON, no object, or one with a key twice.
    """
    try:
        found = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is not valid JSON ({error})", "correct it", code="damaged") from error
    if not isinstance(found, dict):
        raise InputError(path, "is not a JSON object", f"write {form}", code="damaged")
    return found


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {ascii(key)[:80]} stands there twice")
        content[key] = value
    return content


def _mode(path: Path) -> int | None:
    """The target of a path; None if nothing has this name."""
    try:
        link = path.lstat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _ABSENT:
            return None
        raise _unreadable(path, error) from error
    if not stat.S_ISLNK(link):
        return link
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno not in (*_ABSENT, errno.ELOOP):
            raise _unreadable(path, error) from error
        leads = "does not exist; it is a link that leads in a circle" if error.errno == errno.ELOOP else _dangling(path)
        remedy = "get the file ('git annex get', 'dvc pull'), mount the disk that it lies on, or remove the link"
        raise InputError(path, leads, remedy, code="missing-file") from error


def _dangling(path: Path) -> str:
    # Path.readlink would decode the target strictly.
    return f"does not exist; it is a link to {os.fsdecode(os.readlink(path))}, which leads nowhere"  # noqa: PTH115


def _unreadable(path: Path, error: OSError | ValueError) -> InputError:
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return _forbidden(path)
    reason = (isinstance(error, OSError) and error.strerror) or error
    return InputError(
        ascii(str(path))[:200], f"cannot be read ({reason})", "check the name and the disk", code="unreadable"
    )


def _forbidden(path: Path) -> InputError:
    return InputError(
        path,
        "may not be read by you",
        "ask its owner for permission to read, or change it by 'chmod'",
        code="unreadable",
    )
