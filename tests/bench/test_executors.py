from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from refusals import raises

from segmend.bench import executors
from segmend.bench.executors import LocalExecutor, command_of
from segmend.bench.unit import BUSY, Unit

WORK = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
kind = json.loads((folder / "unit.json").read_text())["what"]["kind"]
with (folder / "starts").open("a") as file:
    file.write("x")
print("working on", kind)
if kind == "fails":
    sys.exit("it broke")
if kind == "busy once" and (folder / "starts").read_text() == "x":
    sys.exit(75)
if kind == "endless":
    time.sleep(600)
(folder / "result.json").write_text("{}")
"""


@pytest.fixture
def unit(tmp_path, monkeypatch):
    """Makes a unit whose process does what its kind says, in no time."""
    monkeypatch.setattr(executors, "command_of", lambda unit: [sys.executable, "-c", WORK, str(unit.folder)])
    monkeypatch.setattr(executors, "_POLL_SECONDS", 0.02)

    def make(row: str, kind: str = "works") -> Unit:
        made = Unit.at(tmp_path, row, "labels", 0, {"kind": kind}, {})
        made.write()
        return made

    return make


def starts(unit: Unit) -> int:
    return len((unit.folder / "starts").read_text()) if (unit.folder / "starts").exists() else 0


def run(executor, *units, seconds=math.inf):
    reports: list[dict] = []
    states = executor.run(units, lambda now: reports.append(dict(now)), time.monotonic() + seconds)
    return [states[unit.folder.name] for unit in units], reports


def test_the_command_is_the_module_of_units(tmp_path):
    made = Unit.at(tmp_path, "a", "b", 0, {}, {})
    assert command_of(made) == [sys.executable, "-m", "segmend.bench.unit", str(made.folder)]


def test_runs_each_unit_once_and_done_ones_never(unit):
    first, second = unit("first"), unit("second")
    assert run(LocalExecutor(1), first, second)[0] == ["done", "done"]
    assert run(LocalExecutor(1), first, second, unit("third"))[0] == ["done", "done", "done"]
    assert (starts(first), starts(second)) == (1, 1)


def test_one_that_fails_leaves_the_others_alone_and_a_log(unit):
    bad, good = unit("bad", "fails"), unit("good")
    assert run(LocalExecutor(1), bad, good)[0] == ["failed", "done"]
    assert "it broke" in bad.log.read_text()


def test_one_that_another_process_is_at_is_tried_again(unit):
    busy = unit("busy", "busy once")
    assert BUSY == 75
    assert run(LocalExecutor(1), busy)[0] == ["done"]
    assert starts(busy) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_so_many_at_a_time(unit, monkeypatch, jobs):
    units = [unit(str(number), "endless") for number in range(4)]  # a quick one may end before the next has begun
    monkeypatch.setattr(executors, "_STOP_SECONDS", 0.2)
    _, reports = run(LocalExecutor(jobs), *units, seconds=0.5)
    assert max(list(now.values()).count("running") for now in reports) == jobs


@pytest.mark.parametrize(("cores", "gibibytes", "jobs"), [(2, 64, 2), (16, 64, 3), (4, 9, 2), (None, 1, 1)])
def test_by_default_one_for_each_core_that_memory_reaches_for(unit, monkeypatch, cores, gibibytes, jobs):
    monkeypatch.setattr(executors.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(executors.psutil, "cpu_count", lambda logical: cores)
    memory = SimpleNamespace(available=gibibytes * 2**30)
    monkeypatch.setattr(executors.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(executors, "_STOP_SECONDS", 0.2)
    _, reports = run(LocalExecutor(), *[unit(str(number), "endless") for number in range(3)], seconds=0.5)
    assert max(list(now.values()).count("running") for now in reports) == jobs


def test_stops_at_the_deadline_and_continues_later(unit, monkeypatch):
    monkeypatch.setattr(executors, "_STOP_SECONDS", 0.2)  # where signals are ignored, it is killed after that
    endless, later = unit("endless", "endless"), unit("later")
    assert run(LocalExecutor(1), endless, later, seconds=0.5)[0] == ["waiting", "waiting"]
    assert starts(later) == 0
    running = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(endless.folder) in (process.info["cmdline"] or [])
    ]
    assert not running
    content = json.loads((endless.folder / "unit.json").read_text())
    content["what"]["kind"] = "works"
    (endless.folder / "unit.json").write_text(json.dumps(content))
    assert run(LocalExecutor(1), endless, later)[0] == ["done", "done"]


def test_takes_its_runs_along_when_it_is_terminated(unit):
    endless = unit("endless", "endless")
    before = signal.getsignal(signal.SIGTERM)

    def terminated_once_it_runs(states):
        if starts(endless):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(1).run([endless], terminated_once_it_runs, math.inf)
    assert not [
        each for each in psutil.process_iter(["cmdline"]) if str(endless.folder) in (each.info["cmdline"] or [])
    ]
    assert signal.getsignal(signal.SIGTERM) is before


def test_needs_at_least_one_place():
    with raises("invalid-value", "jobs"):
        LocalExecutor(0)


def test_without_ray_says_how_to_get_it(unit, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with raises("environment", "executor", match=r"segmend\[ray\]"):
        run(executors.RayExecutor(), unit("a"))
