from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from refusals import raises

from segmend.core.errors import InputError
from segmend.core.io import (
    atomic_file,
    atomic_folder,
    check_writable,
    content,
    continued_folder,
    locked_folder,
    remove_leftovers,
    require_empty,
    wait_for,
)
from segmend.core.locks import InUseError

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
        with raises("no-space"), atomic_file(tmp_path / "a" / "b" / "c.csv"):
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


class TestWholeFolder:
    def fill(self, path: Path) -> None:
        with atomic_folder(path) as temporary:
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
            with atomic_folder(tmp_path / "run") as temporary:
                (temporary / "half").touch()
                raise KeyError("a bug")

        with pytest.raises(KeyError):
            fill_half()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(("number", "message"), EXPLAINED)
    def test_what_the_system_says_is_explained(self, tmp_path, number, message):
        with pytest.raises(InputError, match=f"run: {message}"), atomic_folder(tmp_path / "run"):
            raise OSError(number, "too bad")
        assert not list(tmp_path.iterdir())

    def test_an_error_about_a_part_names_its_place_in_the_target(self, tmp_path):
        with (
            pytest.raises(InputError, match=rf"^{tmp_path}/run/sub/a\.csv: the disk is full"),
            atomic_folder(tmp_path / "run") as temporary,
            atomic_file(temporary / "sub" / "a.csv"),
        ):
            raise OSError(errno.ENOSPC, "full")
        assert not list(tmp_path.iterdir())

    def test_a_link_to_an_empty_folder_stays_one(self, tmp_path):
        (tmp_path / "far").mkdir()
        (tmp_path / "run").symlink_to(tmp_path / "far")
        self.fill(tmp_path / "run")
        assert (tmp_path / "run").is_symlink()
        assert (tmp_path / "far" / "labels" / "a.txt").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from segmend.core.io import *

with {writer} as temporary:
    {work}
    os.kill(os.getpid(), signal.SIGKILL)
"""
HOLDING = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print('here', flush=True); sys.stdin.read()")


def kill_while(writer: str, work: str) -> None:
    """Runs a process that is killed in the middle of writing."""
    ended = subprocess.run([sys.executable, "-c", KILLED.format(writer=writer, work=work)], check=False)
    assert ended.returncode == -9


@pytest.fixture
def hold_while():
    """Starts a process that stays in the middle of writing until the test ends."""
    processes = []

    def start(writer: str, work: str) -> int:
        code = HOLDING.format(writer=writer, work=work)
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"here\n"
        return process.pid

    yield start
    for process in processes:
        process.communicate()


class TestWhatKilledProcessesLeave:
    def test_a_file_is_named_by_its_target_and_replaced(self, tmp_path):
        path = tmp_path / "scores.csv"
        kill_while(f"atomic_file(Path({str(path)!r}))", "temporary.write_text('half')")
        assert all("scores.csv" in left.name for left in tmp_path.iterdir())
        assert content(tmp_path) == []
        with atomic_file(path) as temporary:
            assert not temporary.exists()
            temporary.write_text("all")
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_is_removed(self, tmp_path):
        path = tmp_path / "run"
        writing = (f"atomic_folder(Path({str(path)!r}))", "(temporary / 'a').write_text('half')")
        kill_while(*writing)
        assert list(tmp_path.rglob("a"))
        require_empty(path)
        assert not list(tmp_path.iterdir())
        kill_while(*writing)
        with atomic_folder(path) as temporary:
            assert not list(temporary.iterdir())
        assert list(tmp_path.rglob("*")) == [path]

    def test_a_lock_goes_even_where_the_output_was_already_there(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "a").touch()
        (tmp_path / ".segmend-lock.run").touch()
        with raises("already-exists"):
            require_empty(tmp_path / "run")
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    def test_files_in_an_output_folder_do_not_count_as_its_content(self, tmp_path):
        path = tmp_path / "run"
        kill_while(f"atomic_file(Path({str(path / 'settings.json')!r}))", "temporary.write_text('half')")
        assert list(path.iterdir())
        require_empty(path)
        assert not list(path.iterdir())

    def test_of_other_outputs_nothing_is_removed(self, tmp_path):
        kill_while(f"atomic_folder(Path({str(tmp_path / 'run.2')!r}))", "(temporary / 'a').touch()")
        with atomic_folder(tmp_path / "run"):
            pass
        with atomic_folder(tmp_path / "2"):
            pass
        assert list(tmp_path.rglob("a"))

    def test_a_folder_that_grows_in_place_is_tidied_up(self, tmp_path):
        deep = tmp_path / "run" / "labels" / "0001"
        kill_while(f"atomic_folder(Path({str(deep)!r}))", "(temporary / 'a').touch()")
        kill_while(f"locked_folder(Path({str(tmp_path / 'run')!r}))", "")
        with locked_folder(tmp_path / "run"):
            assert [path for path in tmp_path.rglob("*") if path.name not in ("run", "labels", ".segmend-lock")] == []
        assert sorted(tmp_path.rglob("*")) == [tmp_path / "run", tmp_path / "run" / "labels"]

    def test_what_a_living_process_writes_stays(self, tmp_path, hold_while):
        writer = f"atomic_folder(Path({str(tmp_path / 'run')!r}))"
        hold_while(writer, "(temporary / 'a').touch()")
        remove_leftovers(tmp_path)
        assert list(tmp_path.rglob("a"))


class TestTwoAtOnce:
    @pytest.mark.parametrize("attempt", [require_empty, lambda path: atomic_folder(path).__enter__()])
    def test_the_second_is_refused_in_words(self, tmp_path, hold_while, attempt):
        pid = hold_while(f"atomic_folder(Path({str(tmp_path / 'run')!r}))", "(temporary / 'a').touch()")
        with pytest.raises(InUseError, match=rf"run: is being written by another process \(number {pid} on "):
            attempt(tmp_path / "run")
        assert list(tmp_path.rglob("a"))

    @pytest.mark.parametrize("attempt", [require_empty, lambda path: locked_folder(path).__enter__()])
    def test_a_folder_that_grows_in_place(self, tmp_path, hold_while, attempt):
        pid = hold_while(f"locked_folder(Path({str(tmp_path / 'run')!r}))", "")
        with pytest.raises(InUseError, match=rf"run: is being written by another process \(number {pid} on "):
            attempt(tmp_path / "run")

    def test_a_second_file_waits(self, tmp_path):
        order = []

        def write(name):
            with atomic_file(tmp_path / "scores.csv") as temporary:
                order.append(name)
                temporary.write_text(name)

        with atomic_file(tmp_path / "scores.csv") as temporary:
            thread = threading.Thread(target=write, args=("second",))
            thread.start()
            thread.join(0.2)
            assert not order
            temporary.write_text("first")
        thread.join()
        assert (tmp_path / "scores.csv").read_text() == "second"

    def test_a_lock_ends_although_children_live_on(self, tmp_path):
        child = "import os, sys, time\n"
        work = (
            f"os.fork() or (os.close(1), os.execv(sys.executable, [sys.executable, '-c', {child!r} 'time.sleep(5)']))"
        )
        kill_while(f"locked_folder(Path({str(tmp_path / 'run')!r}))", work)
        with locked_folder(tmp_path / "run"):
            pass

    def test_a_folder_locked_by_this_process_is_free_to_it(self, tmp_path):
        with locked_folder(tmp_path / "run"):
            require_empty(tmp_path / "run")
        assert not list(tmp_path.iterdir())


class TestContinuedFolder:
    def writer(self, path: Path, identity: object) -> str:
        return f"continued_folder(Path({str(path)!r}), {identity!r})"

    def test_becomes_the_target(self, tmp_path):
        with continued_folder(tmp_path / "new" / "predictions", {"run": "x"}) as folder:
            (folder / "a").write_text("a")
        assert sorted(tmp_path.rglob("*")) == [tmp_path / "new", *sorted((tmp_path / "new").rglob("*"))]
        assert (tmp_path / "new" / "predictions" / "a").read_text() == "a"

    def test_takes_over_what_is_whole(self, tmp_path):
        path = tmp_path / "predictions"
        work = "(temporary / 'a').write_text('a'); atomic_file(temporary / 'b').__enter__().write_text('half')"
        kill_while(self.writer(path, {"run": [1]}), work)
        require_empty(path)
        with continued_folder(path, {"run": [1]}) as folder:
            assert [each.name for each in folder.iterdir()] == ["a"]
            (folder / "b").write_text("b")
        assert sorted(each.name for each in path.iterdir()) == ["a", "b"]
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("other", ["atomic_folder(path)", "continued_folder(path, {'run': 2})"])
    def test_other_inputs_start_anew(self, tmp_path, other):
        path = tmp_path / "predictions"
        kill_while(self.writer(path, {"run": 1}), "(temporary / 'a').touch()")
        with eval(other) as folder:
            assert not list(folder.iterdir())
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("error", "keep_after_errors", "kept"),
        [(KeyboardInterrupt, False, True), (KeyError, False, False), (KeyError, True, True)],
    )
    def test_what_an_error_leaves(self, tmp_path, error, keep_after_errors, kept):
        def fill():
            with continued_folder(tmp_path / "run", 1, keep_after_errors=keep_after_errors) as folder:
                (folder / "a").touch()
                raise error

        with pytest.raises(error):
            fill()
        assert [path.name for path in tmp_path.rglob("a")] == ["a"] * kept

    def test_nothing_stays_where_nothing_was_done(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), continued_folder(tmp_path / "run", 1):
            raise KeyboardInterrupt
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "loop"])
@pytest.mark.parametrize("writer", [atomic_file, atomic_folder, locked_folder, lambda path: continued_folder(path, 1)])
def test_impossible_names_are_refused_in_words(tmp_path, name, writer):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=r"cannot be"), writer(tmp_path / name / "deep") as place:
        (place or Path()).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("check", [require_empty, check_writable])
class TestChecksBeforeTheWork:
    @pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "file/below"])
    def test_impossible_names_are_refused(self, tmp_path, check, name):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"cannot be"):
            check(tmp_path / name)

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="a place where nobody can write")
    def test_so_is_a_place_where_nobody_can_write(self, check):
        with pytest.raises(InputError, match=r"^/proc/x: cannot be written"):
            check(Path("/proc/x"))

    def test_nothing_is_left_where_it_is_possible(self, tmp_path, check):
        check(tmp_path / "new" / "out")
        assert not list(tmp_path.iterdir())


def test_a_folder_is_not_writable_as_a_file(tmp_path):
    with raises("not-writable"):
        check_writable(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a place where nobody can write")
@pytest.mark.parametrize("writer", [atomic_file, atomic_folder, locked_folder])
def test_a_place_where_nobody_can_write(writer):
    with pytest.raises(InputError, match=r"^/proc/x: cannot be written"), writer(Path("/proc/x")):
        pytest.fail("must not get here")


def test_check_free_refuses_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match=r"run: is a file, but a folder is to be written there\. Choose another"):
        require_empty(tmp_path / "run")
    require_empty(tmp_path / "other")


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
