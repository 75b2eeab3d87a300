"""Entries of the cache: folders named by a digest of the file contents and settings that they were made from.

An entry is filled under another name and then renamed, so it is complete whenever it exists: runs may share the cache,
and a killed one leaves nothing behind that another could mistake for an entry. An entry that was damaged afterwards, by
a failing disk or a clean-up, is made again.

    CACHE/ab/abcd...           an entry: its files, made_from.json (for people), marks.json (lengths and beginnings)
    CACHE/unfinished/          entries that are being made, or removed
    CACHE/in_use/NAME.txt      keys that a running process holds, under a lock of that process
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path

from segmend.core.errors import InputError
from segmend.core.folders import scratch_folder
from segmend.core.io import content, flush, hidden, remove_leftovers
from segmend.core.locks import InUseError, locked
from segmend.core.os_errors import explain_os_errors

_MARKS = "marks.json"
_ORIGIN = "made_from.json"
_BEGINNING = 4096  # bytes; holds shape and type of an array, and all of a small JSON file
_UNFINISHED = "unfinished"
_IN_USE = "in_use"
_OTHER_CACHE = "give a folder for prepared scans by `cache` or the variable SEGMEND_CACHE"

Kind = Literal["image", "label", "soft label", "fingerprint"]


@dataclass(frozen=True)
class Origin:
    """What an entry was first made from; other data sets that hold the same files use the same entry.

    Attributes:
        data: folder of the data set.
        kind: what the entry is.
        case: name of the case; none for a fingerprint.
    """

    data: str
    kind: Kind
    case: str = ""


@dataclass(frozen=True)
class Entry:
    """An entry as it lies in the cache.

    Attributes:
        folder: where it lies.
        origin: what it was made from; None if an earlier version of Segmend made it, which nothing uses any more.
        size: bytes.
        used: seconds since 1970 of the last use.
    """

    folder: Path
    origin: Origin | None
    size: int
    used: float


def default_cache() -> Path:
    """``$SEGMEND_CACHE``, or ``segmend`` in the folder that the operating system keeps for caches of the user.

    Raises:
        InputError: there is no home folder.
    """
    if chosen := os.environ.get("SEGMEND_CACHE"):
        return Path(chosen)
    try:
        Path.home()
    except RuntimeError as error:
        raise InputError(
            "cache", "is not given, and there is no home folder", _OTHER_CACHE, code="missing-value"
        ) from error
    return user_cache_path("segmend", appauthor=False)


def cached_json(
    cache: Path, key: str, make: Callable[[], dict[str, Any]], origin: Origin | None = None
) -> dict[str, Any]:
    """A JSON object from the cache, made if it is not there."""

    def write(path: Path) -> None:
        (path / "value.json").write_text(json.dumps(make()), encoding="utf-8")

    value: dict[str, Any] = json.loads((entry(cache, key, write, origin) / "value.json").read_text(encoding="utf-8"))
    return value


def digest_of(*parts: object) -> str:
    """A digest of values that print equally if they are equal, and of the contents of files given by their path.

    Raises:
        InputError: a file cannot be read.
    """
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            try:
                with part.open("rb") as file:
                    state.update(hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise InputError(part, f"cannot be read ({error.strerror})", "restore it", code="unreadable") from error
        else:
            state.update(repr(part).encode())
    return state.hexdigest()


def entry(cache: Path, key: str, fill: Callable[[Path], object], origin: Origin | None = None) -> Path:
    """The folder of an entry, which is filled if it is not there or damaged.

    Args:
        cache: the cache.
        key: digest of all that the entry depends on.
        fill: writes the files of the entry into a folder.
        origin: what it is made from, for ``entries_in``.

    Raises:
        InputError: the cache cannot be written to; or from ``fill``.
    """
    place = cache / key[:2] / key
    remove_leftovers(cache / _UNFINISHED)
    if _is_whole(place):
        with suppress(OSError):  # another user's cache, perhaps
            os.utime(place / _MARKS)
        return place
    try:
        with explain_os_errors(cache), scratch_folder(cache / _UNFINISHED) as temporary:
            (temporary / "new").mkdir()
            fill(temporary / "new")
            if origin:
                (temporary / "new" / _ORIGIN).write_text(json.dumps(asdict(origin)), encoding="utf-8")
            marks = {file.name: _mark(file) for file in (temporary / "new").iterdir()}
            (temporary / "new" / _MARKS).write_text(json.dumps(marks), encoding="utf-8")
            flush(temporary / "new")
            _put(temporary / "new", place, damaged=temporary / "damaged")
    except InputError as error:
        if isinstance(error.__cause__, OSError) and error.where == str(cache):
            raise error.but(where=cache, remedy=f"{error.remedy}; or {_OTHER_CACHE}") from error
        raise
    return place


def hold(cache: Path, keys: Sequence[str]) -> None:
    """Keep entries from being removed until this process ends, also if it is killed.

    In a cache that this process may not write to, they are not kept.
    """
    with suppress(OSError, InputError):
        _holder(cache).add(keys)


def entries_in(cache: Path) -> Iterator[Entry]:
    """All entries, also of earlier versions of Segmend."""
    for folder in sorted(cache.glob("[0-9a-f][0-9a-f]/*")):
        if re.fullmatch(r"[0-9a-f]{32}", folder.name) and folder.name[:2] == folder.parent.name and folder.is_dir():
            with suppress(OSError):  # removed meanwhile
                sizes = [file.stat().st_size for file in folder.iterdir()]
                marks = folder / _MARKS
                used = (marks if marks.is_file() else folder).stat().st_mtime
                yield Entry(folder, _origin_of(folder), sum(sizes), used)


def remove_entries(cache: Path, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove entries but those that a running process holds.

    Returns:
        The removed ones, and those in use.

    Raises:
        InputError: the cache cannot be written to.
    """
    with explain_os_errors(cache), scratch_folder(cache / _UNFINISHED) as temporary:
        held = _held(cache)
        for each in entries:
            if each.folder.name not in held:
                with suppress(FileNotFoundError):  # removed by another process
                    each.folder.rename(temporary / each.folder.name)
        # A process that took one up in between has said so before it looked for the entry, and looks again.
        held |= _held(cache)
        kept = [each for each in entries if each.folder.name in held]
        for each in kept:
            if (temporary / each.folder.name).exists() and not each.folder.exists():
                (temporary / each.folder.name).rename(each.folder)
    return [each for each in entries if each.folder.name not in held], kept


class _Holder:
    """The file in which this process says which entries of a cache it uses."""

    def __init__(self, cache: Path) -> None:
        folder = cache / _IN_USE
        folder.mkdir(parents=True, exist_ok=True)
        _held(cache)  # which removes the files of killed processes, and the next line their locks
        remove_leftovers(folder)
        self.file, self.process, self.keys = folder / f"{uuid.uuid4().hex}.txt", os.getpid(), set[str]()
        self._stack = ExitStack()
        self._stack.enter_context(locked(hidden(self.file, "lock"), self.file))
        self._stack.callback(lambda: self.file.unlink(missing_ok=True))
        atexit.register(self.release)

    def add(self, keys: Sequence[str]) -> None:
        new = [key for key in keys if key not in self.keys]
        if new:
            with self.file.open("a", encoding="utf-8") as file:
                file.write("".join(f"{key}\n" for key in new))
            self.keys.update(new)

    def release(self) -> None:
        if self.process == os.getpid():  # not in a child, which the lock was inherited by
            self._stack.close()


_holders: dict[tuple[str, int], _Holder] = {}


def _holder(cache: Path) -> _Holder:
    place = (os.path.realpath(cache), os.getpid())
    if place not in _holders:
        _holders[place] = _Holder(cache)
    return _holders[place]


def _held(cache: Path) -> set[str]:
    """Keys of the entries that running processes use; the files of ended ones are removed."""
    keys: set[str] = set()
    for file in content(cache / _IN_USE):
        try:
            with locked(hidden(file, "lock"), file, patience=0):
                file.unlink(missing_ok=True)
        except InUseError:
            with suppress(FileNotFoundError):
                keys.update(file.read_text(encoding="utf-8").split())
    return keys


def _origin_of(folder: Path) -> Origin | None:
    try:
        found = json.loads((folder / _ORIGIN).read_text(encoding="utf-8"))
        return Origin(str(found["data"]), found["kind"], str(found["case"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put(new: Path, place: Path, damaged: Path) -> None:
    """Put a new entry into its place, unless another run was faster: its entry is equivalent."""
    if not _is_whole(place):
        place.parent.mkdir(exist_ok=True)
        try:
            if place.exists():
                place.rename(damaged)
            new.rename(place)
        except OSError:
            if not _is_whole(place):
                raise


def _is_whole(place: Path) -> bool:
    """Whether all files of an entry are as they were written, by their lengths and beginnings."""
    try:
        marks = json.loads((place / _MARKS).read_text(encoding="utf-8"))
        return bool(marks) and all(_mark(place / name) == mark for name, mark in marks.items())
    except (OSError, ValueError, AttributeError):
        return False


def _mark(file: Path) -> list[int | str]:
    with file.open("rb") as stream:
        beginning = hashlib.blake2b(stream.read(_BEGINNING), digest_size=16)
        return [os.fstat(stream.fileno()).st_size, beginning.hexdigest()]
