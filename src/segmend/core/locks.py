"""Locks that are released with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from segmend.core import signals as stopping
from segmend.core.errors import InputError

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_mine: set[str] = set()


class InUseError(InputError):
    """Another process holds the lock."""


@contextmanager
def locked(file: Path, target: Path, patience: float = 1.0) -> Iterator[None]:
    """Hold a lock while the block runs.

    The operating system keeps the lock, so a process that is killed loses it at once, and neither another process
    of the same number nor one in another container is taken for the owner. On a file system that has no locks at
    all, the block runs without one.

    Args:
        file: of the lock, in an existing folder; it says who holds the lock, and is removed at the end.
        target: what is locked, for the message.
        patience: seconds to wait for another process.

    Raises:
        InUseError: another process, or another part of this one, holds the lock.
        OSError: the file cannot be written.
    """
    lock: BaseFileLock = FileLock(file)
    try:
        _acquire(lock, file, patience)
    except Timeout as error:
        problem = f"is being written by another process ({_holder(file)})"
        raise InUseError(target, problem, "wait until it has ended, or choose another name", code="in-use") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    key = os.path.realpath(file)
    _mine.add(key)
    try:
        with stopping.at_the_end(partial(_remove, file)):
            if not isinstance(lock, SoftFileLock):  # which has written the same itself
                with suppress(OSError):
                    file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
            yield
    finally:
        _mine.discard(key)
        lock.release()


def is_first_process() -> bool:
    """Whether this is the first, or only, one of the processes that a launcher started for one command.

    A training on several devices starts the command once for each of them. The first process locks for all.
    """
    return all(os.environ.get(name, "0") in ("", "0") for name in _RANKS)


def refuse_if_in_use(file: Path, target: Path) -> None:
    """Check that no other command holds a lock, and remove its file if a dead process has left it.

    Raises:
        InUseError: another process holds it.
        OSError: the file cannot be written.
    """
    if is_first_process() and os.path.lexists(file) and not is_mine(file):
        with locked(file, target):
            pass


def is_mine(file: Path) -> bool:
    """Whether this process holds a lock."""
    return os.path.realpath(file) in _mine


def _acquire(lock: BaseFileLock, file: Path, patience: float) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not file.exists():  # where files cannot be made, the library would wait for another process
            file.touch()
        lock.acquire(timeout=patience)


def _remove(file: Path) -> None:
    if os.name == "posix":  # while the lock is held: later, the file may be that of the next owner
        with suppress(OSError):
            file.unlink()


def _holder(file: Path) -> str:
    try:
        process, host, *_ = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # on Windows a locked file cannot be read
        return "of unknown number"
    return f"number {process} on {host}"
