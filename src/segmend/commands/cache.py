"""segmend cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from json import dumps
from pathlib import Path

from segmend.core.errors import InputError, did_you_mean, printable
from segmend.core.progress import say, warn
from segmend.data.cache_entries import Entry, default_cache, entries_in, remove_entries

_ALL = "all"
_DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class CachedData:
    """What the cache holds of a data set.

    Attributes:
        data: folder of the data set; empty for entries of earlier versions of Segmend.
        cases: number of cases.
        entries: images, labels and fingerprints.
        size: bytes.
        used: seconds since 1970 of the last use.
    """

    data: str
    cases: int
    entries: int
    size: int
    used: float


def cache(
    *,
    cache: Path | None = None,
    clear: str | None = None,
    older_than: float | None = None,
    json: bool = False,
) -> list[CachedData]:
    """List what the cache holds, or clear it.

    The cache holds prepared scans and labels. Data sets that hold the same files share entries, which are listed under
    the one that was used first. Nothing in it is lost for good: the next training makes what it needs again. What a
    running process uses is never removed.

    Args:
        cache: the folder of prepared scans; by default that of the variable SEGMEND_CACHE, or of the user.
        clear: 'all', or a data folder by its path or its name: what was prepared of it is removed.
        older_than: remove only what was not used in this many days; without ``clear`` of all data sets.
        json: print the list as JSON for programs; sizes in bytes, last use in seconds since 1970.

    Returns:
        What the cache holds in the end, by data set.

    Raises:
        InputError: there is no such folder, it holds nothing of the data folder, or it cannot be written to.

    Example:
        segmend cache --clear all --older_than 30
    """
    if older_than is not None and not older_than >= 0:  # as for NaN
        raise InputError("older_than", f"is {older_than:g} days", "give 0 or more", code="invalid-value")
    place = default_cache() if cache is None else cache
    if not place.is_dir() and (cache is not None or place.exists()):
        raise InputError(place, "is not a folder", "give the folder of prepared scans as `cache`", code="missing-file")
    entries = list(entries_in(place))
    if clear is not None or older_than is not None:
        chosen = _of_data(entries, _ALL if clear is None else clear, place)
        latest = time.time() - (older_than or 0) * _DAY_S
        entries = _without(place, entries, [each for each in chosen if older_than is None or each.used <= latest])
    found = list(_by_data(entries))
    if json:
        print(dumps([asdict(each) for each in found], indent=1))
    else:
        print(printable(_table(found, place), keep="\n"))
    return found


def _of_data(entries: Sequence[Entry], data: str, place: Path) -> list[Entry]:
    """The entries of a data set, by its path or the name of its folder."""
    if data == _ALL:
        return list(entries)
    known = {each.origin.data for each in entries if each.origin}
    path = str(Path(data).resolve())
    wanted = {path} if path in known else {each for each in known if Path(each).name == data}
    if len(wanted) > 1:
        raise InputError(
            "clear",
            f"'{data}' may be any of {', '.join(sorted(wanted))}",
            "give its path",
            code="invalid-value",
        )
    if not wanted:
        remedy = did_you_mean(data, [_ALL, *(Path(each).name for each in known)])
        raise InputError("clear", f"nothing of '{data}' is in {place}", remedy, code="unknown-name")
    return [each for each in entries if each.origin and each.origin.data in wanted]


def _without(place: Path, entries: Sequence[Entry], chosen: Sequence[Entry]) -> list[Entry]:
    """The entries that stay when the chosen ones are removed."""
    if not chosen:
        say("nothing to remove")
        return list(entries)
    removed, held = remove_entries(place, chosen)
    if removed:
        say(f"removed {_size(sum(each.size for each in removed))} in {len(removed)} entries from {place}")
    if held:
        warn(f"{len(held)} entries are in use by a running process and stay")
    gone = {each.folder for each in removed}
    return [each for each in entries if each.folder not in gone]


def _by_data(entries: Sequence[Entry]) -> Iterator[CachedData]:
    groups: dict[str, list[Entry]] = {}
    for each in entries:
        groups.setdefault(each.origin.data if each.origin else "", []).append(each)
    for data, group in sorted(groups.items()):
        cases = {each.origin.case for each in group if each.origin and each.origin.case}
        size, used = sum(each.size for each in group), max(each.used for each in group)
        yield CachedData(data, len(cases), len(group), size, used)


def _table(found: Sequence[CachedData], place: Path) -> str:
    if not found:
        return f"{place} holds nothing."
    rows = [("data", "cases", "size", "last used")]
    rows += [
        (
            each.data or "(an earlier version of Segmend)",
            str(each.cases) if each.data else "",
            _size(each.size),
            datetime.fromtimestamp(each.used).strftime("%Y-%m-%d %H:%M"),
        )
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows]
    return "\n".join([*lines, f"{_size(sum(each.size for each in found))} in {place}"])


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
