"""Atomic files: complete or absent; and what all outputs have in common. Folders are in ``folders``.

An output is written under a hidden name next to its final place and renamed when it is complete. The hidden name is
derived from that of the output, and a lock is held meanwhile. So the next command that writes there finds what a killed
one has left, knows that no process is working on it, and removes it or continues it.

    .segmend-unfinished.NAME        what becomes NAME
    .segmend-continued-DIGEST.NAME  the same, for folders that the next call of the same command takes over
    NAME/unfinished.txt             marks such a folder whose command was stopped and could leave it in sight
    .segmend-lock.NAME              the lock on NAME
    FOLDER/.segmend-lock            the lock on a folder that grows in place, such as a run
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.locks import InUseError, locked
from segmend.core.os_errors import HIDDEN, explain_os_errors

WAIT_TIMEOUT_S = 24 * 3600.0
"""Seconds that a process waits for the output of another one: for example, the duration of a training."""

_SECONDS_BETWEEN_LOOKS = 0.05

_SECONDS_FOR_A_FILE = 30.0

LOCK = HIDDEN + "lock"
"""Name of the lock on a folder that grows in place; those of other outputs end in the name of the output."""

_LONGEST_NAME = 200  # bytes; most systems allow 255, and a hidden name is longer than its target's


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Provide a temporary sibling to write to, which becomes ``path`` when the block ends without an error.

    The sibling keeps the name's ending, since many writers choose the format by it.

    Raises:
        InputError: the disk is full, nothing can be written under this name, or another process is at it.
    """
    temporary = hidden(path, "unfinished")
    with explain_os_errors(path, temporary):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(
                path, "cannot be written (it is a device or a pipe)", "choose another name", code="not-writable"
            )
        with made_folder(path.parent), locked(hidden(path, "lock"), path, _SECONDS_FOR_A_FILE):
            remove(temporary)
            with stopping.at_the_end(partial(remove, temporary)):
                yield temporary
                flush(temporary)
                os.replace(temporary, path)
        flush_folder(path.parent)


@contextmanager
def reserve_file(path: Path, write: Callable[[Path], object]) -> Iterator[None]:
    """Writes a file now that replaces ``path`` only if the process is asked to stop inside the block.

    Raises:
        InputError: as ``atomic_file``.
    """
    temporary = hidden(path, "unfinished")

    def settle() -> None:
        if stopping.requested() is not None and temporary.is_file():
            os.replace(temporary, path)
        else:
            remove(temporary)

    with explain_os_errors(path, temporary), made_folder(path.parent), stopping.at_the_end(settle):
        write(temporary)
        flush(temporary)
        yield


def check_writable(path: Path) -> None:
    """Check that an output file can be made, before its content is computed.

    Raises:
        InputError: it cannot.
    """
    with explain_os_errors(path), made_folder(path.parent), locked(hidden(path, "lock"), path, _SECONDS_FOR_A_FILE):
        if path.is_dir():
            raise InputError(
                path, "is a folder, but a file is to be written there", "choose another name", code="not-writable"
            )
        hidden(path, "unfinished").touch()
        remove(hidden(path, "unfinished"))


def content(folder: Path) -> list[Path]:
    """The content of a folder except our own locks and unfinished files; nothing if there is no folder."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(HIDDEN)] if folder.is_dir() else []


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left partly written in a folder and those below it.

    What a living process is writing stays, as does what ``continued_folder`` takes over.
    """
    found: list[Path] = []
    with suppress(OSError):  # a name too long, or a folder that may not be read
        found = sorted(folder.rglob(f"{HIDDEN}*"))
    for path in found:
        kind, name = kind_and_name(path)
        if kind in ("unfinished", "lock") and path.exists():
            with (
                suppress(InUseError, OSError),
                locked(path.with_name(f"{LOCK}.{name}") if name else path, path, patience=0),
            ):
                if kind == "unfinished":
                    remove(path)


def wait_for(path: Path, patience: float = WAIT_TIMEOUT_S) -> None:
    """Wait until another process has written a file or folder.

    Raises:
        InputError: the process that started this one has ended, or it took too long.
    """
    parent, deadline = os.getppid(), time.monotonic() + patience
    while not path.exists():
        if os.getppid() != parent or time.monotonic() > deadline:
            problem = f"did not appear within {patience:g} s, or the process that writes it has ended"
            raise InputError(
                path, problem, "keep it where every machine sees it, and run the same command again", code="environment"
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def flush(path: Path) -> None:
    """Flush a file, or all files in a folder, to the disk: after a power cut, a renamed file may be empty otherwise."""
    for folder, _, names in os.walk(path):
        for name in names:
            flush(Path(folder, name))
        flush_folder(Path(folder))
    # Links point to images of the user, which are on the disk already.
    if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
        _fsync(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, where the system supports it."""
    if os.name == "posix":  # elsewhere, folders cannot be opened
        with suppress(OSError):
            _fsync(path, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; afterwards, remove those that it made if they are still empty."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]

    def remove_empty() -> None:
        for each in missing:
            with suppress(OSError):
                each.rmdir()

    with stopping.at_the_end(remove_empty):
        folder.mkdir(parents=True, exist_ok=True)
        yield


def hidden(path: Path, kind: str) -> Path:
    """The hidden sibling of an output."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest() + name[-40:]
    return path.with_name(f"{HIDDEN}{kind}.{name}")


def kind_and_name(path: Path) -> tuple[str, str]:
    """The reverse of ``hidden``; the lock of a folder that grows in place has no name."""
    kind, _, name = path.name.removeprefix(HIDDEN).partition(".")
    return kind, name


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that can be removed in it; nothing needs to be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
