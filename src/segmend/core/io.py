"""Atomic outputs: complete or absent.

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

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from segmend.core import signals as stopping
from segmend.core.disk import flush, flush_folder
from segmend.core.errors import InputError
from segmend.core.locks import InUseError, is_first_process, is_mine, locked, refuse_if_in_use
from segmend.core.os_errors import HIDDEN, explain_os_errors

__all__ = [
    "WAIT_TIMEOUT_S",
    "atomic_file",
    "atomic_folder",
    "check_continuable",
    "check_whole",
    "check_writable",
    "content",
    "continued_folder",
    "explain_os_errors",
    "is_whole",
    "locked_folder",
    "refuse_if_written",
    "remove_leftovers",
    "require_empty",
    "reserve_file",
    "scratch_folder",
    "wait_for",
]

WAIT_TIMEOUT_S = 24 * 3600.0
"""Seconds that a process waits for the output of another one: for example, the duration of a training."""

_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_FOR_A_FILE = 30.0
_LONGEST_NAME = 200  # bytes; most systems allow 255, and a hidden name is longer than its target's
_LOCK = HIDDEN + "lock"
_UNFINISHED = "unfinished.txt"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Provide a temporary sibling to write to, which becomes ``path`` when the block ends without an error.

    The sibling keeps the name's ending, since many writers choose the format by it.

    Raises:
        InputError: the disk is full, nothing can be written under this name, or another process is at it.
    """
    temporary = _hidden(path, "unfinished")
    with explain_os_errors(path, temporary):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(
                path, "cannot be written (it is a device or a pipe)", "choose another name", code="not-writable"
            )
        with _made(path.parent), locked(_hidden(path, "lock"), path, _SECONDS_FOR_A_FILE):
            _remove(temporary)
            with stopping.at_the_end(partial(_remove, temporary)):
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
    temporary = _hidden(path, "unfinished")

    def settle() -> None:
        if stopping.requested() is not None and temporary.is_file():
            os.replace(temporary, path)
        else:
            _remove(temporary)

    with explain_os_errors(path, temporary), _made(path.parent), stopping.at_the_end(settle):
        write(temporary)
        flush(temporary)
        yield


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Provide a temporary sibling folder to fill, which becomes ``path`` when the block ends without an error.

    Raises:
        InputError: ``path`` already holds something, the disk is full, nothing can be written under this name, or
            another process is at it.
    """
    with _filled(path, "unfinished", continued=False, keep_after_errors=False) as temporary:
        yield temporary


@contextmanager
def continued_folder(path: Path, identity: object, *, keep_after_errors: bool = False) -> Iterator[Path]:
    """Like ``atomic_folder``, but what a stopped or killed process has left is taken over by the next call.

    The folder that the block gets holds what earlier calls of the same identity have finished; whoever fills it writes
    each file by ``atomic_file`` and leaves out those that are there. Partly written files are removed. A call of
    another identity starts anew, unless the folder was left in sight: then it is refused.

    If the block is stopped, what it has finished is left in sight, at ``path``, with a file that says that it is not
    whole; see ``check_whole``. A killed process leaves it under a hidden name.

    Args:
        path: the folder to make.
        identity: all that decides what is written, as JSON can hold it: arguments, and digests of the inputs.
        keep_after_errors: keep what is there not only when the block is stopped, but also after an ``Exception``.

    Raises:
        InputError: as ``atomic_folder``.
    """
    with _filled(path, _continued(identity), continued=True, keep_after_errors=keep_after_errors) as temporary:
        yield temporary


def check_continuable(path: Path, identity: object) -> None:
    """Check that ``continued_folder`` will find the folder free, or left unfinished by the same command.

    Raises:
        InputError: it is neither, or another process is at it.
    """
    if not _is_left_by(path, _continued(identity)):
        require_empty(path)


def is_whole(folder: Path) -> bool:
    """Whether a folder is there, and was not left by a command that was stopped in the middle."""
    return folder.is_dir() and not (folder / _UNFINISHED).is_file()


def check_whole(folder: Path) -> None:
    """Check that a folder was not left by a command that was stopped in the middle.

    Raises:
        InputError: it was.
    """
    if folder.is_dir() and not is_whole(folder):
        problem = f"is not complete: the command that writes it was stopped (see {_UNFINISHED} there)"
        raise InputError(folder, problem, "run that command again to finish it", code="unfinished")


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Provide a folder with a unique name, removed at the end; ``remove_leftovers`` removes a killed process's.

    Raises:
        OSError: nothing can be written there.
    """
    parent.mkdir(parents=True, exist_ok=True)
    path = parent / uuid.uuid4().hex
    temporary = _hidden(path, "unfinished")
    with locked(_hidden(path, "lock"), path):
        temporary.mkdir()
        with stopping.at_the_end(partial(_remove, temporary)):
            yield temporary


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Keeps a folder that grows in place for this process, makes it if it is missing, and tidies it up.

    Everything that killed processes left half-written in it is removed. If the block leaves the folder empty that
    was made for it, that is removed, too. Where a launcher started several processes for one command, the first
    keeps the folder for all.

    Raises:
        InputError: another process writes to the folder, or nothing can be written there.
    """
    if not is_first_process():
        yield
        return
    with explain_os_errors(path), _made(path), locked(path / _LOCK, path):
        remove_leftovers(path)
        yield


def refuse_if_written(folder: Path) -> None:
    """Check that no other process keeps a folder by ``locked_folder``.

    Raises:
        InputError: another one does.
    """
    with explain_os_errors(folder):
        refuse_if_in_use(folder / _LOCK, folder)


def require_empty(path: Path) -> None:
    """Check that an output folder does not exist yet or is empty, can be made, and is not being written.

    What killed processes have left half-written does not count, and is removed, but for what ``continued_folder``
    takes over.

    Raises:
        InputError: it holds something, nothing can be written there, or another process is at it.
    """
    with explain_os_errors(path):
        if path.exists() and not path.is_dir():
            raise InputError(
                path, "is a file, but a folder is to be written there", "choose another name", code="not-writable"
            )
        place = Path(os.path.realpath(path))
        if is_first_process() and not is_mine(place / _LOCK):
            with _made(place.parent), locked(_hidden(place, "lock"), path):
                _remove(_hidden(place, "unfinished"))
        if path.is_dir():
            refuse_if_written(path)
            if (path / _UNFINISHED).is_file():
                problem = "holds what another command has begun and not finished"
                raise InputError(
                    path,
                    problem,
                    "finish it by that command, choose another folder, or delete this one",
                    code="unfinished",
                )
            if content(path):
                raise InputError(
                    path, "already holds something", "choose another folder, or delete this one", code="already-exists"
                )
            remove_leftovers(path)


def check_writable(path: Path) -> None:
    """Check that an output file can be made, before its content is computed.

    Raises:
        InputError: it cannot.
    """
    with explain_os_errors(path), _made(path.parent), locked(_hidden(path, "lock"), path, _SECONDS_FOR_A_FILE):
        if path.is_dir():
            raise InputError(
                path, "is a folder, but a file is to be written there", "choose another name", code="not-writable"
            )
        _hidden(path, "unfinished").touch()
        _remove(_hidden(path, "unfinished"))


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
        kind, name = _kind_and_name(path)
        if kind in ("unfinished", "lock") and path.exists():
            with (
                suppress(InUseError, OSError),
                locked(path.with_name(f"{_LOCK}.{name}") if name else path, path, patience=0),
            ):
                if kind == "unfinished":
                    _remove(path)


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


@contextmanager
def _filled(path: Path, kind: str, *, continued: bool, keep_after_errors: bool) -> Iterator[Path]:
    left = continued and _is_left_by(path, kind)
    if not left:
        require_empty(path)
    place = Path(os.path.realpath(path))  # "." has no name, and a link to an empty folder stays a link
    temporary = _hidden(place, kind)
    with explain_os_errors(path, temporary), _made(place.parent), locked(_hidden(place, "lock"), path):
        if left:
            os.replace(place, temporary)
            _remove(temporary / _UNFINISHED)
        for other in place.parent.glob(f"{HIDDEN}*"):
            (of, name), taken_over = _kind_and_name(other), continued and other == temporary
            if name == _kind_and_name(temporary)[1] and of != "lock" and not taken_over:
                _remove(other)
        temporary.mkdir(exist_ok=True)
        remove_leftovers(temporary)
        with stopping.at_the_end(partial(_leave, temporary, place, kind) if continued else partial(_remove, temporary)):
            try:
                yield temporary
                flush(temporary)
                if place.is_dir():
                    place.rmdir()
                os.replace(temporary, place)
            except Exception:
                if not keep_after_errors:
                    _remove(temporary)
                raise
    flush_folder(place.parent)


def _leave(temporary: Path, place: Path, kind: str) -> None:
    """Leave the finished part of a folder visible, so that the same command can continue it."""
    remove_leftovers(temporary)
    if not content(temporary):
        _remove(temporary)
        return
    text = f"This folder is not complete. Run the same command again to finish it.\n{kind}\n"
    (temporary / _UNFINISHED).write_text(text, encoding="utf-8")
    if place.is_dir():
        place.rmdir()
    os.replace(temporary, place)


def _is_left_by(place: Path, kind: str) -> bool:
    """Whether a folder was left in sight, to be continued by a command of this identity."""
    try:
        return (place / _UNFINISHED).read_text(encoding="utf-8").splitlines()[-1:] == [kind]
    except (OSError, ValueError):
        return False


def _continued(identity: object) -> str:
    digest = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()
    return f"continued-{digest}"


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; afterwards, remove those that it made if they are still empty."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]

    def remove_empty() -> None:
        for each in missing:
            with suppress(OSError):
                each.rmdir()

    with stopping.at_the_end(remove_empty):
        folder.mkdir(parents=True, exist_ok=True)
        yield


def _hidden(path: Path, kind: str) -> Path:
    """The hidden sibling of an output."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest() + name[-40:]
    return path.with_name(f"{HIDDEN}{kind}.{name}")


def _kind_and_name(hidden: Path) -> tuple[str, str]:
    """The reverse of ``_hidden``; the lock of a folder that grows in place has no name."""
    kind, _, name = hidden.name.removeprefix(HIDDEN).partition(".")
    return kind, name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
