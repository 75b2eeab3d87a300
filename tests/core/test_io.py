from __future__ import annotations

import errno
import os
import threading

import pytest
from explained_errors import EXPLAINED

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder
from segmend.core.io import atomic_file, check_writable, wait_for


class TestWholeFile:
    def test_appears_when_the_block_ends(self, tmp_path):
        path = tmp_path / "new" / "scores.nii.gz"
        with atomic_file(path) as temporary:
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
            with atomic_file(path) as temporary:
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
        with atomic_file(path) as temporary:
            temporary.write_text("new")
        assert target.read_text() == "given"
        assert path.read_text() == "new"

    @pytest.mark.parametrize(("number", "message"), EXPLAINED)
    def test_what_the_system_says_is_explained(self, tmp_path, number, message):
        path = tmp_path / "scores.csv"
        with pytest.raises(InputError, match=rf"scores\.csv: {message}"), atomic_file(path):
            raise OSError(number, "too bad")
        assert not list(tmp_path.iterdir())

    def test_an_error_about_another_file_names_that_file(self, tmp_path):
        with pytest.raises(InputError, match=r"missing: cannot be used \(No such file"), atomic_file(tmp_path / "out"):
            (tmp_path / "missing").read_text()

    def test_errors_that_are_not_about_files_are_not_touched(self, tmp_path):
        with pytest.raises(BrokenPipeError), atomic_file(tmp_path / "out"):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def test_folders_made_on_the_way_go_with_an_error(self, tmp_path):
        with pytest.raises(InputError), atomic_file(tmp_path / "a" / "b" / "c.csv"):
            raise OSError(errno.ENOSPC, "full")
        with pytest.raises(InputError, match="name"), atomic_folder(tmp_path / "a" / ("long" * 99) / "c"):
            pass
        assert not list(tmp_path.iterdir())

    def test_a_device_is_not_replaced_by_a_file(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="device or a pipe"), atomic_file(tmp_path / "pipe"):
            pytest.fail("must not get here")
        assert (tmp_path / "pipe").is_fifo()

    def test_a_name_may_be_as_long_as_the_system_allows(self, tmp_path):
        path = tmp_path / ("é" * 120 + ".nii.gz")
        with atomic_file(path) as temporary:
            assert temporary.name.endswith(".nii.gz")
            temporary.write_text("all")
        assert list(tmp_path.iterdir()) == [path]

    def test_what_is_written_is_on_the_disk_before_it_has_its_name(self, tmp_path, monkeypatch):
        events = []
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda number: (events.append("fsync"), fsync(number)))
        monkeypatch.setattr(os, "replace", lambda *names: (events.append("replace"), replace(*names)))
        with atomic_file(tmp_path / "scores.csv") as temporary:
            temporary.write_text("all")
        assert events[:2] == ["fsync", "replace"]

    @pytest.mark.parametrize("name", ["file/below.csv", "folder"])
    def test_a_place_where_no_file_can_be(self, tmp_path, name):
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        with (
            pytest.raises(InputError, match=r"cannot be written \(.*\)\. Choose another"),
            atomic_file(tmp_path / name) as t,
        ):
            t.touch()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_is_not_writable_as_a_file(tmp_path):
    with pytest.raises(InputError, match="is a folder, but a file"):
        check_writable(tmp_path)


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
