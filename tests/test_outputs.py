from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from segmend.errors import InputError
from segmend.outputs import check_free, wait_for, whole_file, whole_folder

EXPLAINED = [
    pytest.param(errno.ENOSPC, "the disk is full, nothing was written. Free some space", id="full"),
    pytest.param(errno.EDQUOT, "the disk is full, nothing was written. Free some space", id="quota"),
    pytest.param(errno.EACCES, "cannot be written to. Choose a folder that you may write to", id="forbidden"),
    pytest.param(errno.EROFS, "cannot be written to. Choose a folder that you may write to", id="read-only"),
    pytest.param(errno.ENAMETOOLONG, r"cannot be written \(too bad\). Choose another name", id="name"),
]


class TestWholeFile:
    def test_appears_when_the_block_ends(self, tmp_path):
        path = tmp_path / "new" / "scores.nii.gz"
        with whole_file(path) as temporary:
            temporary.write_text("all")
            assert not path.exists()
            assert temporary.parent == path.parent
            assert temporary.name.startswith(".")
            assert temporary.name.endswith(".nii.gz")
        assert path.read_text() == "all"
        assert list(path.parent.iterdir()) == [path]

    def test_an_error_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "scores.csv"
        path.write_text("old")

        def write_half():
            with whole_file(path) as temporary:
                temporary.write_text("half")
                raise KeyError("a bug")

        with pytest.raises(KeyError):
            write_half()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_link_is_replaced_and_its_target_left_alone(self, tmp_path):
        target, path = tmp_path / "given.csv", tmp_path / "out.csv"
        target.write_text("given")
        os.link(target, path)
        with whole_file(path) as temporary:
            temporary.write_text("new")
        assert target.read_text() == "given"
        assert path.read_text() == "new"

    @pytest.mark.parametrize(("number", "message"), EXPLAINED)
    def test_what_the_system_says_is_explained(self, tmp_path, number, message):
        path = tmp_path / "scores.csv"
        with pytest.raises(InputError, match=rf"scores\.csv: {message}"), whole_file(path):
            raise OSError(number, "too bad")
        assert not list(tmp_path.iterdir())

    def test_other_errors_are_not_touched(self, tmp_path):
        with pytest.raises(FileNotFoundError), whole_file(tmp_path / "scores.csv"):
            (tmp_path / "missing").read_text()

    @pytest.mark.parametrize("name", ["file/below.csv", "folder"])
    def test_a_place_where_no_file_can_be(self, tmp_path, name):
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        with (
            pytest.raises(InputError, match=r"cannot be written \(.*\)\. Choose another"),
            whole_file(tmp_path / name) as t,
        ):
            t.touch()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


class TestWholeFolder:
    def fill(self, path: Path) -> None:
        with whole_folder(path) as temporary:
            (temporary / "labels").mkdir()
            (temporary / "labels" / "a.txt").write_text("a")
            assert not path.exists() or not any(path.iterdir())

    def test_appears_when_the_block_ends(self, tmp_path):
        self.fill(tmp_path / "new" / "run")
        assert (tmp_path / "new" / "run" / "labels" / "a.txt").read_text() == "a"
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["run"]

    def test_may_be_there_if_empty(self, tmp_path, monkeypatch):
        (tmp_path / "run").mkdir()
        monkeypatch.chdir(tmp_path / "run")
        self.fill(Path())
        assert (tmp_path / "run" / "labels" / "a.txt").exists()

    def test_is_not_written_over(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "precious").touch()
        with pytest.raises(InputError, match=r"run: already holds something\. Choose another folder, or delete"):
            self.fill(tmp_path / "run")
        assert [path.name for path in tmp_path.rglob("*")] == ["run", "precious"]

    def test_an_error_leaves_nothing(self, tmp_path):
        def fill_half():
            with whole_folder(tmp_path / "run") as temporary:
                (temporary / "half").touch()
                raise KeyError("a bug")

        with pytest.raises(KeyError):
            fill_half()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(("number", "message"), EXPLAINED)
    def test_what_the_system_says_is_explained(self, tmp_path, number, message):
        with pytest.raises(InputError, match=f"run: {message}"), whole_folder(tmp_path / "run"):
            raise OSError(number, "too bad")
        assert not list(tmp_path.iterdir())


def test_check_free_refuses_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match=r"run: is a file, but a folder is to be written there\. Choose another"):
        check_free(tmp_path / "run")
    check_free(tmp_path / "other")


class TestWaiting:
    def test_ends_when_the_file_is_there(self, tmp_path):
        timer = threading.Timer(0.2, (tmp_path / "late").mkdir)
        timer.start()
        wait_for(tmp_path / "late")
        assert (tmp_path / "late").is_dir()
        timer.join()

    def test_ends_in_an_error(self, tmp_path):
        with pytest.raises(InputError, match=r"never: did not appear within 0\.1 s, or the process that writes it"):
            wait_for(tmp_path / "never", patience=0.1)

    def test_ends_with_the_process_that_started_this_one(self, tmp_path, monkeypatch):
        parents = iter([10, 10, 1])
        monkeypatch.setattr(os, "getppid", lambda: next(parents))
        with pytest.raises(InputError, match=r"never: .* run the same command again"):
            wait_for(tmp_path / "never")
