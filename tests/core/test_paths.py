from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from refusals import raises

from segmend.core.errors import InputError
from segmend.core.paths import check_file, entries, is_file, is_folder, kind_of, parse_json, read_bytes, read_json

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def odd(tmp_path):
    """One of everything that is no plain file."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "link_to_folder").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("../.git/annex/objects/x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "through_file").symlink_to("file/x")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


class TestKinds:
    def test_files_and_links_to_files(self, odd):
        assert is_file(odd / "file")
        assert is_file(odd / "link")
        assert not is_file(odd / "none")
        assert not is_file(odd / "file" / "below")
        assert kind_of(odd / "none") is None

    def test_folders_and_links_to_folders(self, odd):
        assert is_folder(odd / "folder")
        assert is_folder(odd / "link_to_folder")
        assert not is_folder(odd / "none")

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("folder", "is a folder, but a file is expected there"),
            ("link_to_folder", "is a folder, but"),
            ("pipe", "is a pipe, but"),
            (
                "dangling",
                r"does not exist; it is a link to \.\./\.git/annex/objects/x, which leads nowhere.*git annex get",
            ),
            ("through_file", "does not exist; it is a link to file/x, which leads nowhere"),
            ("loop", "does not exist; it is a link that leads in a circle"),
        ],
    )
    def test_nothing_else_counts_as_absent_or_as_a_file(self, odd, name, problem):
        for look in (is_file, check_file, read_bytes, read_json):
            with pytest.raises(InputError, match=f"{name}: {problem}"):
                look(odd / name)

    @pytest.mark.parametrize(
        ("name", "problem"), [("file", "is not a folder, but a file"), ("pipe", "a pipe"), ("dangling", "is a link to")]
    )
    def test_nothing_else_counts_as_a_folder(self, odd, name, problem):
        for look in (is_folder, entries):
            with pytest.raises(InputError, match=problem):
                look(odd / name)

    def test_a_socket(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("door")
            with pytest.raises(InputError, match="is a socket"):
                is_file(Path("door"))

    @pytest.mark.parametrize("name", ["a" * 5000, "a\0b"])
    def test_impossible_names(self, tmp_path, name):
        for look in (is_file, is_folder):
            with raises("unreadable") as caught:
                look(tmp_path / name)
            assert len(str(caught.value)) < 400

    def test_absence_has_a_remedy(self, tmp_path):
        with pytest.raises(InputError, match=r"none: does not exist\. Ask"):
            check_file(tmp_path / "none", "ask")

    def test_entries_are_sorted_and_hidden_ones_left_out(self, odd):
        (odd / ".DS_Store").touch()
        (odd / "._file").touch()
        assert [path.name for path in entries(odd)] == sorted(
            path.name for path in odd.iterdir() if path.name[0] != "."
        )
        assert entries(odd / "none") == []


class TestPermission:
    def test_a_folder_that_may_not_be_listed(self, odd, monkeypatch):
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(InputError, match=r"folder: may not be read by you\. Ask its owner"):
            entries(odd / "folder")

    @pytest.mark.skipif(AS_ROOT, reason="root may read everything")
    def test_what_may_not_be_read(self, odd):
        (odd / "folder" / "inside").touch()
        (odd / "file").chmod(0)
        (odd / "folder").chmod(0)
        try:
            for path in (odd / "file", odd / "link", odd / "folder" / "inside"):
                with pytest.raises(InputError, match="may not be read by you"):
                    is_file(path)
            with pytest.raises(InputError, match="may not be read by you"):
                is_folder(odd / "folder")
        finally:
            (odd / "folder").chmod(0o700)

    def test_access_is_asked_for(self, odd, monkeypatch):
        monkeypatch.setattr(os, "access", lambda *_: False)
        for look, name in ((is_file, "file"), (is_folder, "folder")):
            with pytest.raises(InputError, match=f"{name}: may not be read by you"):
                look(odd / name)


class TestJson:
    def test_an_object(self, tmp_path):
        (tmp_path / "x.json").write_text('\ufeff{"a": {"b": [1]}}', encoding="utf-8")
        assert read_json(tmp_path / "x.json") == {"a": {"b": [1]}}

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b'{"a": 1, "b": {"c": 1, "c": 1}}', r"is not valid JSON \(the key 'c' stands there twice\)"),
            (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
            (b"[" * 200_000, "is not valid JSON"),
            (b'{"a":' * 100_000, "is not valid JSON"),
            (b"", "is not valid JSON"),
            (b"\xff\xfe{\0}\0", "is not valid JSON"),
            (b"[1]", r"is not a JSON object\. Write \{a, b\}"),
            (b"null", "is not a JSON object"),
        ],
    )
    def test_what_is_wrong_is_said(self, content, problem):
        with pytest.raises(InputError, match=problem):
            parse_json(Path("x.json"), content, "{a, b}")
