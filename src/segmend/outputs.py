"""Outputs that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segmend.errors import InputError

PATIENCE = 24 * 3600.0
"""Seconds that a process waits for what another one writes: as long as a training may take, say."""

_SECONDS_BETWEEN_LOOKS = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)
_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary sibling to write to, which becomes ``path`` when the block ends without an error.

    The sibling keeps the name's ending, since many writers choose the format by it.

    Raises:
        InputError: the disk is full, or nothing can be written under this name.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary sibling folder to fill, which becomes ``path`` when the block ends without an error.

    Raises:
        InputError: ``path`` already holds something, the disk is full, or nothing can be written under this name.
    """
    check_free(path)
    path = path.absolute()  # "." has no name to make a sibling of
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    with writing_to(path):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if path.exists():
                path.rmdir()
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_free(path: Path) -> None:
    """Makes sure that an output folder does not exist yet or is empty.

    Raises:
        InputError: it holds something.
    """
    if path.is_file():
        raise InputError(path, "is a file, but a folder is to be written there", "choose another name")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(path, "already holds something", "choose another folder, or delete this one")


def wait_for(path: Path, patience: float = PATIENCE) -> None:
    """Returns when another process has written a file or folder.

    Raises:
        InputError: the process that started this one has ended, or it took too long.
    """
    parent, deadline = os.getppid(), time.monotonic() + patience
    while not path.exists():
        if os.getppid() != parent or time.monotonic() > deadline:
            problem = f"did not appear within {patience:g} s, or the process that writes it has ended"
            raise InputError(path, problem, "keep it where every machine sees it, and run the same command again")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Explains what the system says about writing inside the block.

    Raises:
        InputError: the disk is full, or nothing can be written under this name.
    """
    try:
        yield
    except OSError as error:
        # numpy tells of a full disk in words only.
        if error.errno in _FULL or "requested and" in str(error):
            raise InputError(path, "the disk is full, nothing was written", "free some space and try again") from error
        if error.errno in _FORBIDDEN:
            raise InputError(path, "cannot be written to", "choose a folder that you may write to") from error
        if error.errno in _NO_PLACE:
            raise InputError(path, f"cannot be written ({error.strerror})", "choose another name") from error
        raise
