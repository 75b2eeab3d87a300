"""Flushing files to the disk, so that a power cut does not empty them."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path


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
