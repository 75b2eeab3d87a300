from __future__ import annotations

import os
import stat

import pytest

from segmend.review.session import Session


def files(tmp_path):
    return [path for path in (tmp_path / "state").rglob("*") if path.is_file()]


def test_what_a_killed_server_left_is_found_again(tmp_path):
    session = Session.new(4711)
    session.keep(tmp_path, "mark")
    assert Session.left(tmp_path, "mark") == session
    assert Session.left(tmp_path, "other") is None
    assert Session.left(tmp_path / "elsewhere", "mark") is None


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_not_read_it(tmp_path):
    Session.new(4711).keep(tmp_path, "mark")
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_is_forgotten_by_the_server_that_wrote_it_only(tmp_path):
    first, second = Session.new(1), Session.new(2)
    first.keep(tmp_path, "mark")
    second.keep(tmp_path, "mark")
    first.forget(tmp_path, "mark")
    assert Session.left(tmp_path, "mark") == second
    second.forget(tmp_path, "mark")
    assert Session.left(tmp_path, "mark") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"token": "short", "port": 5}',
        '{"token": 3, "port": 5}',
        '{"token": "%s", "port": 70000}' % ("x" * 32),
    ],
)
def test_what_is_damaged_is_not_used(tmp_path, content):
    Session.new(4711).keep(tmp_path, "mark")
    (path,) = files(tmp_path)
    path.write_text(content)
    assert Session.left(tmp_path, "mark") is None


def test_tokens_are_long_and_different():
    tokens = {Session.new().token for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32
