from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from segmend.bench import unit as unit_module
from segmend.bench.unit import BUSY, Unit, main, slug
from segmend.core.folders import locked_folder


def made(tmp_path, **what) -> Unit:
    return Unit.at(tmp_path, "Mean Teacher, 2+2", "4 expert + 76 noisy", 3, what, {"data": "/here"})


def test_another_description_lies_elsewhere(tmp_path):
    folders = {made(tmp_path, code="a").folder, made(tmp_path, code="b").folder, made(tmp_path, code="a").folder}
    assert len(folders) == 2
    assert all(folder.name.startswith("Mean-Teacher-2-2_4-expert-76-noisy_seed3_") for folder in folders)


def test_the_place_of_the_data_does_not_matter(tmp_path):
    here = Unit.at(tmp_path, "a", "b", 0, {"x": 1}, {"data": "/here"})
    there = Unit.at(tmp_path, "a", "b", 0, {"x": 1}, {"data": "/there"})
    assert here.folder == there.folder
    assert here.what["fingerprint"] == there.what["fingerprint"]
    assert here.what["fingerprint"] != Unit.at(tmp_path, "a", "b", 1, {"x": 1}, {}).what["fingerprint"]


def test_is_read_as_it_was_written(tmp_path):
    unit = made(tmp_path, train={"iterations": 5})
    unit.write()
    assert Unit.load(unit.folder) == unit


def test_tells_how_far_it_is(tmp_path):
    unit = made(tmp_path)
    assert (unit.steps, unit.done) == (0, False)
    (unit.folder / "run").mkdir(parents=True)
    (unit.folder / "run" / "log.csv").write_text("step,loss\n")
    assert unit.steps == 0
    (unit.folder / "run" / "log.csv").write_text("step,loss\n1,0.5\n10,0.4\n")
    assert unit.steps == 10
    (unit.folder / "result.json").write_text(json.dumps({"seconds": 4}))
    assert unit.done
    assert unit.result == {"seconds": 4}


def test_two_processes_never_work_on_one_unit(tmp_path, monkeypatch):
    unit = made(tmp_path)
    unit.write()
    worked = []
    monkeypatch.setattr(unit_module, "execute", worked.append)
    monkeypatch.setattr(sys, "argv", ["unit", str(unit.folder)])
    with locked_folder(unit.folder):
        assert main() == BUSY
    assert not worked
    assert main() == 0
    assert worked == [unit]
    (unit.folder / "result.json").write_text("{}")
    assert main() == 0
    assert len(worked) == 1


def test_can_be_asked_to_stop_even_if_started_in_the_background(tmp_path, monkeypatch):
    unit = made(tmp_path)
    unit.write()

    def work(_: Unit) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on")

    monkeypatch.setattr(unit_module, "execute", work)
    monkeypatch.setattr(sys, "argv", ["unit", str(unit.folder)])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            main()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("name", "expected"), [("A b", "A-b"), ("4 expert + 76", "4-expert-76"), ("(ours)", "ours")])
def test_names_become_parts_of_file_names(name, expected):
    assert slug(name) == expected
