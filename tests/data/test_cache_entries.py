from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from segmend.data.cache_entries import Origin, cached_json, digest_of, entries_in, entry, hold, remove_entries

KEYS = [digest_of(number) for number in range(3)]
HOLDS = """
import sys
from pathlib import Path
from segmend.data.cache_entries import hold
hold(Path(sys.argv[1]), sys.argv[2:])
print("held", flush=True)
sys.stdin.read()
"""


def made(cache: Path, key: str, **origin: str) -> Path:
    return entry(cache, key, lambda path: (path / "a").write_bytes(b"x" * 1000), Origin("/data", "image", **origin))


def test_entries_tell_what_they_are(tmp_path):
    place = made(tmp_path, KEYS[0], case="a")
    os.utime(place / "marks.json", (5, 5))
    (found,) = entries_in(tmp_path)
    assert (found.folder, found.origin, found.used) == (place, Origin("/data", "image", "a"), 5)
    assert 1000 < found.size < 1500
    made(tmp_path, KEYS[0], case="a")
    (found,) = entries_in(tmp_path)
    assert found.used > 1e9


def test_what_is_no_entry_is_not_listed(tmp_path):
    (tmp_path / "ab" / "holiday").mkdir(parents=True)
    (tmp_path / "cd" / f"ab{'0' * 30}").mkdir(parents=True)
    cached_json(tmp_path, "key", lambda: {})
    assert not list(entries_in(tmp_path))


def test_entries_of_an_earlier_version_have_no_origin(tmp_path):
    folder = tmp_path / KEYS[0][:2] / KEYS[0]
    folder.mkdir(parents=True)
    (folder / "image.npy").write_bytes(b"x" * 10)
    (found,) = entries_in(tmp_path)
    assert (found.origin, found.size) == (None, 10)


def test_entries_are_removed(tmp_path):
    for key in KEYS:
        made(tmp_path, key)
    chosen = [each for each in entries_in(tmp_path) if each.folder.name != KEYS[0]]
    removed, held = remove_entries(tmp_path, chosen)
    assert ({each.folder.name for each in removed}, held) == (set(KEYS[1:]), [])
    assert [each.folder.name for each in entries_in(tmp_path)] == KEYS[:1]
    assert not list((tmp_path / "unfinished").iterdir())


def test_what_this_process_holds_stays(tmp_path):
    for key in KEYS:
        made(tmp_path, key)
    hold(tmp_path, KEYS[:1])
    for _ in range(2):
        remove_entries(tmp_path, list(entries_in(tmp_path)))
        assert [each.folder.name for each in entries_in(tmp_path)] == KEYS[:1]


def test_what_another_process_holds_stays_until_it_ends(tmp_path):
    for key in KEYS:
        made(tmp_path, key)
    command = [sys.executable, "-c", HOLDS, str(tmp_path), *KEYS[:2]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        removed, held = remove_entries(tmp_path, list(entries_in(tmp_path)))
        assert [each.folder.name for each in removed] == KEYS[2:]
        assert {each.folder.name for each in held} == set(KEYS[:2])
        process.kill()
    remove_entries(tmp_path, list(entries_in(tmp_path)))
    assert not list(entries_in(tmp_path))
    assert not [file for file in (tmp_path / "in_use").iterdir() if file.suffix == ".txt"]


def test_an_entry_taken_up_while_it_is_being_removed_stays(tmp_path, monkeypatch):
    made(tmp_path, KEYS[0])
    rename = Path.rename

    def taken_up(self, target):
        monkeypatch.undo()
        hold(tmp_path, KEYS[:1])
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", taken_up)
    _, held = remove_entries(tmp_path, list(entries_in(tmp_path)))
    assert [each.folder.name for each in held] == KEYS[:1]
    assert [each.folder.name for each in entries_in(tmp_path)] == KEYS[:1]


def test_a_cache_that_may_only_be_read_is_used_all_the_same(tmp_path):
    (tmp_path / "in_use").touch()
    hold(tmp_path, KEYS)


def test_what_a_killed_process_held_is_removed_by_the_next(tmp_path):
    folder = tmp_path / "in_use"
    folder.mkdir()
    for name in ("dead.txt", ".segmend-lock.dead.txt", ".segmend-lock.other.txt"):
        (folder / name).write_text("")
    hold(tmp_path, ["0" * 32])
    assert len([path for path in folder.iterdir() if "dead" in path.name or "other" in path.name]) == 0
    assert len(list(folder.iterdir())) == 2
