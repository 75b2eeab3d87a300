from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from pathlib import Path

import pytest
from refusals import raises

from segmend.core import parallel
from segmend.core.errors import InputError
from segmend.core.parallel import available_cores, fitting_workers, in_order

forked = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the workers are threads")


@pytest.mark.parametrize("workers", [1, 2, 7, 100])
def test_results_come_in_the_order_of_the_items(workers):
    def slower_at_first(item):
        time.sleep(0.02 * (5 - item) if item < 5 else 0)
        return item * item

    assert list(in_order(slower_at_first, range(12), workers)) == [item * item for item in range(12)]


def test_nothing_to_do():
    assert list(in_order(str, [], 4)) == []


@forked
def test_the_work_is_done_by_several_processes():
    def process(item):
        time.sleep(0.05)
        return os.getpid()

    found = set(in_order(process, range(8), 2))
    assert len(found) == 2
    assert os.getpid() not in found


def test_one_worker_is_this_process_and_does_nothing_ahead():
    done = []
    results = in_order(done.append, range(5), 1)
    next(results)
    assert done == [0]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_keeps_its_kind_place_and_code(workers, tmp_path):
    def refuse(item):
        if item == 2:
            raise InputError(tmp_path / "c.nii.gz", "is damaged", "export it again", ["a detail"], code="damaged")
        return item

    found = in_order(refuse, range(6), workers)
    with raises("damaged", tmp_path / "c.nii.gz", match="(?s)is damaged. Export it again.*a detail"):
        list(found)


def test_an_argument_stays_an_argument_and_a_path_a_path():
    for where in ("cores", Path("cores")):
        error = pickle.loads(pickle.dumps(InputError(where, "is -1", "give 1", code="invalid-value")))
        assert (error.where, error.is_path, error.code) == ("cores", where != "cores", "invalid-value")


@forked
def test_a_process_that_the_system_ends_is_explained():
    def die(item):
        os.kill(os.getpid(), signal.SIGKILL)

    with raises("too-large", "cores", match="fewer `cores`"):
        list(in_order(die, range(4), 2))


@forked
def test_no_process_is_left_when_nobody_waits_for_the_results():
    import psutil

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    results = in_order(lambda item: time.sleep(0 if item == 0 else 60), range(8), 2)
    next(results)
    results.close()
    deadline = time.monotonic() + 10
    while {child.pid for child in psutil.Process().children(recursive=True)} - before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("cores", "needed", "expected"), [(8, 10, 8), (8, 100, 5), (8, 5000, 1), (1, 10, 1), (8, 0, 8)]
)
def test_as_many_as_fit_into_half_of_the_free_memory(monkeypatch, cores, needed, expected):
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    assert fitting_workers(cores, needed) == expected


def test_threads_do_the_same_where_there_is_no_fork(monkeypatch):
    monkeypatch.setattr(parallel.sys, "platform", "win32")
    assert available_cores() == os.cpu_count()
    found = list(in_order(lambda item: (item, os.getpid()), range(5), 3))
    assert found == [(item, os.getpid()) for item in range(5)]
