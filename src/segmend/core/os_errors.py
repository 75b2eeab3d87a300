"""Helpful messages for the operating system's errors about files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segmend.core.errors import Code, InputError

HIDDEN = ".segmend-"
"""Prefix of all names that an output has until it is complete."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)
_FAILING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO)
_WINDOWS_FULL = (39, 112)
_WINDOWS_OPEN_ELSEWHERE = (32, 33)


@contextmanager
def explain_os_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Explain the system's errors about writing inside the block.

    Errors of the block's own about the temporary are made to name the target.

    Args:
        path: the user's name of what is written.
        temporary: where it is written before it gets that name.

    Raises:
        InputError: the disk is full, nothing can be written under this name, or whatever else the system says.
    """
    if "\0" in str(path) or not _encodable(path):
        raise InputError(ascii(str(path)), "cannot be the name of a file", "choose another name", code="invalid-name")
    try:
        yield
    except InputError as error:
        if (named := _within(error.where, path, temporary)) is None:
            raise
        raise error.but(where=named) from error
    except (BrokenPipeError, ConnectionError, ChildProcessError):
        raise  # not about files
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
        named = next((found for name in names if (found := _as_target(name, path, temporary))), None)
        if names and named is None:
            raise InputError(
                names[0], f"cannot be used ({_said(error)})", "restore it, or make it readable", code="unreadable"
            ) from error
        problem, remedy, code = _explained(error)
        raise InputError(named or path, problem, remedy, code=code) from error


def _explained(error: OSError) -> tuple[str, str, Code]:
    """Problem, remedy and code."""
    number, windows = error.errno, getattr(error, "winerror", None)
    if number is None and "requested and" in str(error):  # numpy keeps the reason to itself
        problem = "the disk is full, or takes no file of this size; nothing was written"
        return problem, "free some space and try again", "no-space"
    if number in _FULL or windows in _WINDOWS_FULL:
        return "the disk is full, nothing was written", "free some space and try again", "no-space"
    if windows in _WINDOWS_OPEN_ELSEWHERE:
        return "is open in another program", "close it there and try again", "in-use"
    if number in _FORBIDDEN:
        return "cannot be written to", "choose a folder that you may write to", "not-writable"
    problem = f"cannot be written ({_said(error)})"
    if number == errno.EFBIG:
        return problem, "choose a place that takes larger files, or raise the limit (ulimit -f)", "not-writable"
    if number in (errno.EMFILE, errno.ENFILE):
        return problem, "raise the limit of open files (ulimit -n)", "not-writable"
    if number in _FAILING:
        return problem, "check the disk or the network drive and try again", "not-writable"
    if number == errno.ENAMETOOLONG:
        return problem, "choose another name, a shorter one", "invalid-name"
    return problem, "choose another name", "not-writable"


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _as_target(name: str, path: Path, temporary: Path | None) -> Path | None:
    """What the user calls a file that is written: the target or a part of it. None if it is none of them."""
    file, target = Path(name).absolute(), path.absolute()
    if file.is_relative_to(target) or target.is_relative_to(file) or file.name.startswith(HIDDEN):
        return _within(name, path, temporary) or path
    return _within(name, path, temporary)


def _within(name: str, path: Path, temporary: Path | None) -> Path | None:
    """The place below ``path`` of what is written below the temporary; None of anything else."""
    if temporary is None or not (file := Path(name).absolute()).is_relative_to(temporary.absolute()):
        return None
    return path / file.relative_to(temporary.absolute())


def _encodable(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True
