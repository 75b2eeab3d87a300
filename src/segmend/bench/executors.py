"""Executors of the units: processes on this machine, or a Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil
import torch

from segmend.bench.unit import BUSY, State, Unit
from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.os_errors import explain_os_errors

Report = Callable[[dict[str, State]], None]
"""Receives the state of every unit, by its folder's name, at intervals."""

_BYTES_A_RUN = 4 * 2**30
"""Assumed memory of a run on a CPU: those of the left atrium at half resolution and width take 1.4 to 1.8 GiB."""

_POLL_SECONDS = 1.0
_STOP_SECONDS = 60.0


class Executor(ABC):
    """Runs units that do not depend on each other; each in its own process, so that one may fail alone."""

    @abstractmethod
    def run(self, units: Sequence[Unit], report: Report, deadline: float) -> dict[str, State]:
        """Runs all units that are not done.

        Args:
            units: in the order in which they are wanted.
            report: is called whenever something may have changed.
            deadline: time of ``time.monotonic()`` at which everything is stopped, to be continued later.

        Returns:
            The state of every unit by the name of its folder.
        """


def command_of(unit: Unit) -> list[str]:
    """What starts the process of a unit."""
    return [sys.executable, "-m", "segmend.bench.unit", str(unit.folder)]


@dataclass
class LocalExecutor(Executor):
    """Processes on this machine.

    Attributes:
        jobs: how many at a time; by default one for each GPU, or one for each core as far as memory reaches: two
            runs of one thread each get further than one run of two threads.
    """

    jobs: int | None = None
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise InputError("jobs", f"is {self.jobs}", "give 1 or more", code="invalid-value")

    @stopping.listening()  # runs are sessions of their own, and would go on
    def run(self, units: Sequence[Unit], report: Report, deadline: float) -> dict[str, State]:
        """Start the next unit whenever a slot is free."""
        gpus = torch.cuda.device_count()
        states: dict[str, State] = {unit.folder.name: "done" if unit.done else "waiting" for unit in units}
        jobs = self.jobs or gpus or _sensible_jobs(list(states.values()).count("waiting"))
        by_name = {unit.folder.name: unit for unit in units}
        places = list(range(jobs))
        place_of: dict[str, int] = {}
        try:
            while "waiting" in states.values() or self._running:
                for name in [name for name, state in states.items() if state == "waiting"][: len(places)]:
                    place_of[name] = places.pop()
                    self._running[name] = _start(by_name[name], _environment(place_of[name], jobs, gpus))
                    states[name] = "running"
                for name, process in list(self._running.items()):
                    if (status := process.poll()) is not None:
                        del self._running[name]
                        places.append(place_of[name])
                        states[name] = outcome(by_name[name], status)
                report(states)
                if time.monotonic() > deadline:
                    break
                time.sleep(_POLL_SECONDS)
        finally:
            with stopping.unhurried():  # while the runs write their last checkpoints
                self._stop()
        return {name: "waiting" if state == "running" else state for name, state in states.items()}

    def _stop(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        for process in self._running.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # its last checkpoint is whole at every moment
                process.wait()
        self._running.clear()


@dataclass
class RayExecutor(Executor):
    """A Ray cluster whose machines share the file system of ``--out`` and of the data.

    Units of a machine that goes down are run again elsewhere, from their last checkpoint.

    Attributes:
        address: of the cluster; by default the one that $RAY_ADDRESS names, or a new one on this machine.
        cores: processor cores that a unit takes.
    """

    address: str | None = None
    cores: int = 1

    def run(self, units: Sequence[Unit], report: Report, deadline: float) -> dict[str, State]:
        """Submit all units to the cluster, which starts them where there is room."""
        try:
            import ray
        except ImportError as error:
            raise InputError(
                "executor", "ray needs the package Ray", 'install it: pip install "segmend[ray]"', code="environment"
            ) from error
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False)
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(num_cpus=self.cores, num_gpus=gpus, max_retries=-1)(_run_to_its_end)
        states: dict[str, State] = {unit.folder.name: "done" if unit.done else "waiting" for unit in units}
        by_name = {unit.folder.name: unit for unit in units}
        waiting = {remote.remote(unit): unit.folder.name for unit in units if not unit.done}
        while waiting and time.monotonic() < deadline:
            finished, _ = ray.wait(list(waiting), timeout=_POLL_SECONDS)
            for task in finished:
                name = waiting.pop(task)
                states[name] = outcome(by_name[name], ray.get(task))
            for name in waiting.values():
                states[name] = "running" if by_name[name].log.is_file() else "waiting"
            report(states)
        for task in waiting:
            ray.cancel(task, force=True)
        return {name: "waiting" if state == "running" else state for name, state in states.items()}


def _sensible_jobs(waiting: int) -> int:
    cores = psutil.cpu_count(logical=False) or 1
    return max(1, min(waiting, cores, psutil.virtual_memory().available // _BYTES_A_RUN))


def outcome(unit: Unit, status: int) -> State:
    """The state of a unit whose process has ended; one that another process is at is still to come."""
    if unit.done:
        return "done"
    return "waiting" if status == BUSY else "failed"


def _run_to_its_end(unit: Unit) -> int:
    """Runs on a machine of the cluster."""
    while (status := _start(unit, {}).wait()) == BUSY:
        time.sleep(_POLL_SECONDS)  # a process of a machine that was given up may still hold it
    return status


def _start(unit: Unit, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with explain_os_errors(unit.log), unit.log.open("ab") as log:
        return subprocess.Popen(
            command_of(unit),
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def _environment(place: int, jobs: int, gpus: int) -> dict[str, str]:
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": str(place % gpus)}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
