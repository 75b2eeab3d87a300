"""Kills a command at any of its changes of the file system, or at any moment, and runs it again.

The process that runs commands is forked from one that has imported everything, so that a trial takes a second. An
audit hook, which Python calls before each change, counts the changes below the scene and ends the process at the
chosen one. Code that is not Python's, such as SimpleITK's, writes unseen: kills at random moments reach it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segmend import COMMANDS
from segmend.cli import main
from segmend.data import cache_entries

_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_MEASURED = {"seconds", "steps_per_second", "peak_memory_bytes"}


@dataclass(frozen=True)
class Scene:
    """A command on a folder.

    Attributes:
        name: of the command.
        build: makes what the command is given, below ``SCENE/given``, and what else it finds there.
        arguments: of the command, after its name; paths are relative to the scene, in which it runs.
        written: where its results lie, relative to the scene.
    """

    name: str
    build: Callable[[Path], None]
    arguments: str
    written: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a process ended: exit status, or minus the signal; how many changes it made; seconds; what it printed."""

    status: int
    changes: int
    seconds: float
    text: str


class Stage:
    """A place on which a scene is set up again and again.

    Args:
        scene: what is played.
        root: an empty folder of its own.
    """

    def __init__(self, scene: Scene, root: Path) -> None:
        self.scene, self.place, self._template = scene, root / "scene", root / "template"
        for folder in ("given", "home", "tmp"):
            (self.place / folder).mkdir(parents=True)
        built = _forked(lambda: scene.build(self.place) or 0, self.place)
        assert built.status == 0, built.text
        shutil.rmtree(self.place / "cache", ignore_errors=True)
        self.place.rename(self._template)
        self._set_up()
        self.whole = self.run()
        assert self.whole.status == 0, self.whole.text
        self.expected = self.result()
        assert self.leftovers() == []

    def run(self, kill_before: int = 0, kill_after: float | None = None) -> Outcome:
        """Runs the command; kills it before a change, counted from 1, or after some seconds."""
        words = [self.scene.name, *self.scene.arguments.split()]
        return _forked(lambda: main(words), self.place, kill_before, kill_after)

    def trial(self, kill_before: int = 0, kill_after: float | None = None) -> str:
        """Kills the command once and runs it again.

        Returns:
            What went wrong; empty if nothing did.
        """
        self._set_up()
        given = _bytes(self.place / "given")
        self.run(kill_before, kill_after)
        again = self.run()
        for _ in range(2):  # a refusal because everything is there is right; whether it is, is compared below
            if "is being written by another process" not in again.text:
                break
            again = self.run()
        problems = []
        if "Traceback" in again.text or again.status not in (0, 1):
            problems.append("the second run ended in a traceback")
        if (found := self.result()) != self.expected:
            names = {name for name in found | self.expected if found.get(name) != self.expected.get(name)}
            problems.append(f"other results: {sorted(names)}")
        if left := self.leftovers():
            problems.append(f"left behind: {left}")
        if _bytes(self.place / "given") != given:
            problems.append("what was given has changed")
        return "; ".join(problems) + (f"\n{again.text}" if problems else "")

    def moments(self, count: int, seed: int) -> list[float]:
        """Seconds after which to kill, over all of the time that the command takes."""
        chance = random.Random(f"{self.scene.name} {seed}")
        return [chance.uniform(0, self.whole.seconds) for _ in range(count)]

    def changes(self, count: int | None, seed: int) -> list[int]:
        """Changes to kill before: all, or some of them, the first and last ones included."""
        every = list(range(1, self.whole.changes + 1))
        if count is None or count >= len(every):
            return every
        ends = {*every[: count // 3], *every[len(every) - count // 3 :]}
        others = [change for change in every if change not in ends]
        return sorted([*ends, *random.Random(f"{self.scene.name} {seed}").sample(others, count - len(ends))])

    def result(self) -> dict[str, Any]:
        """Names and contents of all that the command wrote, without what is measured anew each time."""
        found: dict[str, Any] = {}
        for name in self.scene.written:
            top = self.place / name
            for path in (top, *sorted(top.rglob("*"))):
                if path.exists() and "tensorboard" not in path.parts and path.name not in ("log.txt", "unit.json"):
                    found[str(path.relative_to(self.place))] = _content(path)
        return found

    def leftovers(self) -> list[str]:
        """Hidden files, and files in the folder of temporary ones or among unfinished entries of the cache.

        What a killed process held in the cache is removed by the next one that uses the cache, which a command that
        finds everything finished does not.
        """
        kept = {"home", "in_use"}
        hidden = {path for path in self.place.rglob(".*") if not kept & set(path.relative_to(self.place).parts)}
        others = {path for place in ("tmp", "cache/unfinished") for path in (self.place / place).glob("*")}
        return sorted(str(path.relative_to(self.place)) for path in hidden | others)

    def _set_up(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._template, self.place)


def _forked(work: Callable[[], int], place: Path, kill_before: int = 0, kill_after: float | None = None) -> Outcome:
    for module in COMMANDS.values():  # imported once, in the parent
        importlib.import_module(module)
    report, started = place.parent / "report", time.monotonic()
    report.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _play(work, place, report, kill_before)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    text = report.read_text(errors="replace") if report.is_file() else ""
    changes = int(text.rpartition("changes: ")[2] or 0) if "changes: " in text else 0
    return Outcome(os.waitstatus_to_exitcode(status), changes, time.monotonic() - started, text)


def _play(work: Callable[[], int], place: Path, report: Path, kill_before: int) -> None:
    status, count = 70, 0
    try:
        out = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = sys.stderr = io.TextIOWrapper(open(1, "wb", buffering=0, closefd=False), write_through=True)  # noqa: SIM115
        os.chdir(place)
        os.environ |= {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "SEGMEND_CACHE": str(place / "cache")}
        os.environ |= {"MPLCONFIGDIR": str(place / "home"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        torch.set_num_threads(1)

        def count_changes(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if (event in _CHANGES or (event == "open" and _opens_to_write(arguments))) and _below(arguments[0], place):
                count += 1
                if count == kill_before:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count_changes)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for holder in cache_entries._holders.values():  # as at the end of a process that was not forked
            holder.release()
        print(f"\nchanges: {count}", flush=True)
        os._exit(status)


def _opens_to_write(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool((flags or 0) & _WRITING) or any(letter in (mode or "") for letter in "wax+")


def _below(name: object, place: Path) -> bool:
    if not isinstance(name, str | bytes | os.PathLike):
        return False
    path = Path(os.fsdecode(name)).absolute()
    return path.is_relative_to(place) and "home" not in path.relative_to(place).parts


def _bytes(root: Path) -> dict[str, tuple[bytes, int]]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(file.relative_to(root)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def _content(path: Path) -> Any:
    if path.is_dir():
        return "folder"
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name: hashlib.blake2b(archive.read(name)).hexdigest() for name in archive.namelist()}
    if path.suffix == ".json":
        return _without_measured(json.loads(content))
    if path.suffix == ".ckpt":
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: list(_flat(state[name])) for name in ("state_dict", "optimizer_states", "global_step")}
    return hashlib.blake2b(content).hexdigest()


def _without_measured(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_measured(value) for name, value in content.items() if name not in _MEASURED}
    return [_without_measured(value) for value in content] if isinstance(content, list) else content


def _flat(state: Any) -> Iterator[Any]:
    if isinstance(state, torch.Tensor):
        yield hashlib.blake2b(state.contiguous().numpy().tobytes()).hexdigest()
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _flat(value)
    else:
        yield state
