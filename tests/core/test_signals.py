# ruff: noqa: PT012 -- in the middle of which block a signal raises is what is tested
from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from segmend.core import signals as stopping
from segmend.core.signals import Stopped

HARD_WORK = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
"""Minutes within a library, where Python hears no signal."""


@pytest.fixture
def start():
    """Starts a program that listens and prints a line when it is at work; gives its process."""
    processes = []

    def start(work, before="with stopping.listening():"):
        program = f"import hashlib, sys, time\nfrom segmend import stopping\n{before}\n"
        program += "\n".join(f"    {line}" for line in ["print('at work', flush=True)", *work.splitlines()])
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "at work\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process, within):
    start = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < within
    return process.returncode, out, err


@pytest.fixture
def heard():
    """Signals as they are in a terminal: those that run in the background, or under nohup, have some ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class TestListening:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_raises_and_everything_is_tidied_up(self, number, heard):
        tidied = []
        before = signal.getsignal(number)
        with pytest.raises(Stopped) as stopped, stopping.listening():
            try:
                signal.raise_signal(number)
            finally:
                tidied.append(True)
        assert stopped.value.status == 128 + number
        assert isinstance(stopped.value, KeyboardInterrupt)
        assert tidied
        assert signal.getsignal(number) is before
        assert stopping.requested() is None

    def test_what_nohup_ignores_stays_ignored(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with stopping.listening():
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_a_process_within_a_library_is_ended_too_and_leaves_nothing(self, start, tmp_path):
        file = tmp_path / "temporary"
        process = start(
            f"import pathlib; file = pathlib.Path({str(file)!r}); file.touch()\n"
            "with stopping.at_the_end(lambda: file.unlink(missing_ok=True)):\n"
            f"    print('there', flush=True)\n    {HARD_WORK}"
        )
        assert process.stdout.readline() == "there\n"
        time.sleep(0.3)  # until it is within the library
        process.terminate()
        status, _, err = ended(process, within=stopping.ANSWER_S + 1)
        assert status == 143
        assert err == "segmend: stopped by SIGTERM; run the same command again to start again\n"
        assert not file.exists()

    def test_an_exception_that_a_destructor_swallows_does_not_keep_it_alive(self, start):
        process = start(
            "class Slow:\n    def __del__(self):\n        print('gone', flush=True); time.sleep(60)\n"
            "Slow()\ntime.sleep(60)"
        )
        assert process.stdout.readline() == "gone\n"
        process.send_signal(signal.SIGINT)
        status, _, err = ended(process, within=stopping.ANSWER_S + 1)
        assert status == 130
        assert "Traceback" not in err

    def test_before_the_work_begins_it_ends_at_once(self, start):
        process = start("time.sleep(60)", before="with stopping.listening('end'):")
        process.send_signal(signal.SIGINT)
        assert ended(process, within=1) == (
            130,
            "",
            "segmend: stopped by Ctrl+C before any work began\n",
        )

    def test_forked_processes_are_not_heard_as_their_parent(self, start):
        process = start(
            "import os, signal\n"
            "child = os.fork()\n"
            "if not child:\n    time.sleep(60)\n"
            "time.sleep(0.5)\n"
            "os.kill(child, signal.SIGTERM)\n"
            "print(os.WTERMSIG(os.waitpid(child, 0)[1]), stopping.requested(), flush=True)"
        )
        assert ended(process, within=10)[:2] == (0, f"{signal.SIGTERM.value} None\n")

    def test_what_the_same_command_would_do_is_told(self):
        try:
            stopping.promise("continue from step 7")
            assert str(Stopped(signal.SIGTERM)) == (
                "stopped by SIGTERM; run the same command again to continue from step 7"
            )
        finally:
            stopping.promise_nothing()
        assert str(Stopped(signal.SIGINT)) == "stopped by Ctrl+C; run the same command again to start again"


class TestDeferred:
    def test_work_goes_on_to_the_next_check(self):
        done = []
        with pytest.raises(Stopped), stopping.deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append(stopping.requested())
            stopping.check()
            done.append("after")
        assert done == [signal.SIGTERM]

    def test_the_end_of_the_block_is_a_check(self):
        done = []
        with pytest.raises(Stopped):
            with stopping.deferred():
                signal.raise_signal(signal.SIGINT)
                done.append("whole")
            done.append("after")
        assert done == ["whole"]

    def test_where_nothing_would_be_lost_it_raises_at_once(self):
        done = []
        with pytest.raises(Stopped), stopping.deferred(), stopping.interruptible():
            signal.raise_signal(signal.SIGTERM)
            done.append("after")
        assert done == []

    def test_an_earlier_signal_does_not_let_such_a_block_begin(self):
        done = []
        with pytest.raises(Stopped), stopping.deferred():
            signal.raise_signal(signal.SIGTERM)
            with stopping.interruptible():
                done.append("begun")
        assert done == []

    def test_two_signals_at_the_same_time_are_one(self):
        """As ``timeout`` sends them."""
        done = []
        with pytest.raises(Stopped), stopping.deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")
        assert done == ["whole"]

    def test_a_second_one_later_ends_it_at_once(self, monkeypatch):
        monkeypatch.setattr(stopping, "_ONE_REQUEST_S", 0.01)
        done = []
        with pytest.raises(Stopped), stopping.deferred():
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.02)
            signal.raise_signal(signal.SIGTERM)
            done.append("after")
        assert done == []

    def test_a_long_step_is_not_ended_by_one_signal_but_by_two(self, start):
        process = start(HARD_WORK, before="with stopping.deferred():")
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(stopping.ANSWER_S + 1)
        process.terminate()
        assert ended(process, within=stopping.ANSWER_S + 1)[0] == 143
