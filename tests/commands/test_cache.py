from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from refusals import raises

from segmend.cli import main
from segmend.commands.cache import CachedData, cache
from segmend.data.cache_entries import Origin, digest_of, entry

DAY = 24 * 3600


@pytest.fixture
def filled(tmp_path):
    """A cache of two data sets, one of them last used 40 days ago, and an entry of an earlier version."""
    place = tmp_path / "cache"
    for data, name, days in (("/data/heart", "a", 0), ("/data/heart", "b", 0), ("/data/liver", "a", 40)):
        for kind in ("image", "label"):
            key = digest_of(data, name, kind)
            folder = entry(place, key, lambda path: (path / "x").write_bytes(b"x" * 1000), Origin(data, kind, name))
            os.utime(folder / "marks.json", (time.time() - days * DAY,) * 2)
    old = digest_of("old")
    (place / old[:2] / old).mkdir(parents=True, exist_ok=True)
    (place / old[:2] / old / "image.npy").write_bytes(b"x" * 10)
    return place


def held(found: list[CachedData]) -> dict[str, tuple[int, int]]:
    return {each.data: (each.cases, each.entries) for each in found}


def test_lists_data_sets_with_cases_and_sizes(filled, capsys):
    assert main(["cache", "--cache", str(filled)]) == 0
    text = capsys.readouterr().out
    heart = next(line for line in text.splitlines() if line.startswith("/data/heart"))
    assert heart.split()[1] == "2"
    assert "KB" in heart
    assert "(an earlier version of Segmend)" in text
    assert held(cache(cache=filled)) == {"": (0, 1), "/data/heart": (2, 4), "/data/liver": (1, 2)}


def test_json_is_for_programs(filled, capsys):
    assert main(["cache", "--cache", str(filled), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["data"]: row["cases"] for row in rows} == {"": 0, "/data/heart": 2, "/data/liver": 1}
    assert all(row["size"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (["--clear", "all"], set()),
        (["--clear", "heart"], {"", "/data/liver"}),
        (["--clear", "/data/liver"], {"", "/data/heart"}),
        (["--older_than", "30"], {"", "/data/heart"}),
        (["--older_than", "50"], {"", "/data/heart", "/data/liver"}),
        (["--older_than", "0"], set()),
        (["--clear", "heart", "--older_than", "30"], {"", "/data/heart", "/data/liver"}),
        (["--clear", "liver", "--older_than", "30"], {"", "/data/heart"}),
    ],
)
def test_clears_what_is_asked_for(filled, given, left):
    assert main(["cache", "--cache", str(filled), *given]) == 0
    assert set(held(cache(cache=filled))) == left


def test_nothing_but_entries_is_removed(filled):
    (filled / "thesis.docx").touch()
    (filled / "ab").mkdir(exist_ok=True)
    (filled / "ab" / "photo.png").touch()
    cache(cache=filled, clear="all")
    assert (filled / "thesis.docx").is_file()
    assert (filled / "ab" / "photo.png").is_file()


def test_the_cache_of_the_user_may_not_be_there_yet(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SEGMEND_CACHE", str(tmp_path / "none"))
    assert main(["cache"]) == 0
    assert "holds nothing" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_meant_is_refused(filled):
    with raises("unknown-name", "clear", "did you mean heart|Did you mean heart"):
        cache(cache=filled, clear="hart")
    with raises("invalid-value", "older_than"):
        cache(cache=filled, older_than=-1)
    with raises("invalid-value", "older_than"):
        cache(cache=filled, older_than=float("nan"))
    with raises("missing-file", filled / "none"):
        cache(cache=filled / "none")
    assert len(held(cache(cache=filled))) == 3


def test_a_name_of_two_folders_is_refused(filled):
    entry(filled, digest_of("other"), lambda path: Path(path / "x").touch(), Origin("/other/heart", "image", "a"))
    with raises("invalid-value", "clear"):
        cache(cache=filled, clear="heart")
    cache(cache=filled, clear="/other/heart")
    assert "/data/heart" in held(cache(cache=filled))


def test_names_of_folders_cannot_write_to_the_terminal(filled, capsys):
    entry(filled, digest_of("evil"), lambda path: Path(path / "x").touch(), Origin("/data/\x1b[2J", "image", "a"))
    cache(cache=filled)
    assert "\x1b" not in capsys.readouterr().out
