from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import kills
import pytest
from kills import Scene, Stage

SUPPORT = Path(__file__).parents[1] / "support"


def test_commands_killed_at_some_moments_end_as_if_nothing_had_happened():
    """A sample of what ``make kills`` does; in a process of its own, since trainings cannot be forked from here."""
    command = [sys.executable, Path(__file__).with_name("kill.py"), "--changes", "3", "--moments", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])}
    ended = subprocess.run([*command, "corrupt", "train"], env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "8 kills, 0 problems" in ended.stdout


def write(out: Path) -> None:
    out.mkdir()
    for name in "ab":
        (out / name).write_text(name)


def refuse_half(_: list[str]) -> int:
    if Path("out").exists():
        return 1
    write(Path("out"))
    return 0


def leave_hidden(_: list[str]) -> int:
    place = Path(f".{os.getpid()}")
    write(place)
    place.rename("out")
    return 0


def leave_in_temporary_folder(_: list[str]) -> int:
    place = Path(os.environ["TMPDIR"]) / str(os.getpid())
    write(place)
    place.rename("out")
    return 0


def crash(_: list[str]) -> int:
    if not Path("out").exists():
        write(Path("out"))
        return 0
    raise ValueError("damaged")


def change_what_is_given(_: list[str]) -> int:
    Path("given/label").write_text("other")
    if not Path("out").exists():
        leave_hidden([])
    return 0


def be_careful(_: list[str]) -> int:
    for place in Path().glob(".*"):
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    return 1 if Path("out").exists() else leave_hidden([])


@pytest.mark.parametrize(
    ("command", "change", "problem"),
    [
        (refuse_half, 3, "other results: .*out/b"),
        (leave_hidden, 3, r"left behind: \['\.\d+'"),
        (leave_in_temporary_folder, 3, r"left behind: \['tmp/\d+'"),
        (crash, 3, "the second run ended in a traceback"),
        (change_what_is_given, 1, "what was given has changed"),
        (be_careful, 3, "^$"),
    ],
)
def test_what_goes_wrong_is_found(tmp_path, monkeypatch, command, change, problem):
    monkeypatch.setattr(kills, "main", command)
    scene = Scene("check", lambda root: (root / "given" / "label").write_text("given") and None, "", ("out",))
    assert re.search(problem, Stage(scene, tmp_path).trial(kill_before=change))


def test_every_change_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "main", leave_hidden)
    stage = Stage(Scene("check", lambda root: None, "", ("out",)), tmp_path)
    assert stage.whole.changes == 4  # a folder, two files, a new name
    assert stage.changes(None, seed=0) == [1, 2, 3, 4]
    assert stage.changes(3, seed=0)[::2] == [1, 4]
    assert all(0 <= moment <= stage.whole.seconds for moment in stage.moments(5, seed=0))
