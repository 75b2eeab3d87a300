"""Output folders: atomic, continued after a kill, or growing in place under a lock.

The hidden names of unfinished folders and of locks are those of ``io``.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.io import (
    LOCK,
    content,
    flush,
    flush_folder,
    hidden,
    kind_and_name,
    made_folder,
    remove,
    remove_leftovers,
)
from segmend.core.locks import is_first_process, is_mine, locked, refuse_if_in_use
from segmend.core.os_errors import HIDDEN, explain_os_errors

_UNFINISHED = "unfinished.txt"


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

    The folder that the block gets holds what earlier calls of the same identity have finished; the block writes
    each file by ``atomic_file`` and leaves out those that are there. Partly written files are removed. A call of
    another identity starts again, unless the folder was left in sight: then it is refused.

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
    temporary = hidden(path, "unfinished")
    with locked(hidden(path, "lock"), path):
        temporary.mkdir()
        with stopping.at_the_end(partial(remove, temporary)):
            yield temporary


@contextmanager
def locked_folder(path: Path, patience: float = 1.0) -> Iterator[None]:
    """Keeps a folder that grows in place for this process, makes it if it is missing, and tidies it up.

    Everything that killed processes left half-written in it is removed. If the block leaves the folder empty that
    was made for it, that is removed, too. Where a launcher started several processes for one command, the first
    keeps the folder for all.

    Args:
        path: the folder.
        patience: seconds to wait for another process.

    Raises:
        InputError: another process writes to the folder, or nothing can be written there.
    """
    if not is_first_process():
        yield
        return
    with explain_os_errors(path), made_folder(path), locked(path / LOCK, path, patience):
        remove_leftovers(path)
        yield


def refuse_if_written(folder: Path) -> None:
    """Check that no other process keeps a folder by ``locked_folder``.

    Raises:
        InputError: another one does.
    """
    with explain_os_errors(folder):
        refuse_if_in_use(folder / LOCK, folder)


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
        if is_first_process() and not is_mine(place / LOCK):
            with made_folder(place.parent), locked(hidden(place, "lock"), path):
                remove(hidden(place, "unfinished"))
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


@contextmanager
def _filled(path: Path, kind: str, *, continued: bool, keep_after_errors: bool) -> Iterator[Path]:
    left = continued and _is_left_by(path, kind)
    if not left:
        require_empty(path)
    place = Path(os.path.realpath(path))  # "." has no name, and a link to an empty folder stays a link
    temporary = hidden(place, kind)
    with explain_os_errors(path, temporary), made_folder(place.parent), locked(hidden(place, "lock"), path):
        if left:
            os.replace(place, temporary)
            remove(temporary / _UNFINISHED)
        for other in place.parent.glob(f"{HIDDEN}*"):
            (of, name), taken_over = kind_and_name(other), continued and other == temporary
            if name == kind_and_name(temporary)[1] and of != "lock" and not taken_over:
                remove(other)
        temporary.mkdir(exist_ok=True)
        remove_leftovers(temporary)
        with stopping.at_the_end(partial(_leave, temporary, place, kind) if continued else partial(remove, temporary)):
            try:
                yield temporary
                flush(temporary)
                if place.is_dir():
                    place.rmdir()
                os.replace(temporary, place)
            except Exception:
                if not keep_after_errors:
                    remove(temporary)
                raise
    flush_folder(place.parent)


def _leave(temporary: Path, place: Path, kind: str) -> None:
    """Leave the finished part of a folder visible, so that the same command can continue it."""
    remove_leftovers(temporary)
    if not content(temporary):
        remove(temporary)
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
