"""The same work for many items by several processes, with the same results as by one.

On Linux the processes are copies of this one (fork), as those of PyTorch's data loaders are: they start at once, share
what is in memory, and a script of a user needs no guard. Elsewhere they are threads, which share one interpreter.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import psutil

from segmend.core import signals
from segmend.core.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Results of each process that may wait for those of items before them."""

_work: Callable[[Any], Any] | None = None
_items: Sequence[Any] = ()


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def fitting_workers(cores: int, needed: int) -> int:
    """How many processes may run at once, so that they fit into half of the memory that is free now; at least one.

    Args:
        cores: the most that are wanted.
        needed: bytes that each of them needs.
    """
    return max(1, min(cores, psutil.virtual_memory().available // 2 // max(needed, 1)))


def in_order(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield the result of each item, in the order of the items.

    Args:
        work: what is done; it must not depend on what it did before. Its results are pickled.
        items: one after the other; with one worker, each is looked at when its result is asked for.
        workers: how many processes, 1 or more; with one, this process does everything.

    Raises:
        InputError: as ``work`` raises it, or a process was ended from outside, as a system does without free memory.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    executor: Executor
    if sys.platform == "linux":
        executor = ProcessPoolExecutor(workers, get_context("fork"), _begin, (work, items))
        call: Callable[[int], Any] = _one
    else:
        executor, call = ThreadPoolExecutor(workers), lambda index: work(items[index])
    waiting: deque[Future[Any]] = deque()
    try:
        for index in range(len(items)):
            waiting.append(executor.submit(call, index))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        signals.check()
        remedy = "give fewer `cores`, as each needs memory for a case"
        raise InputError("cores", "are too many: a process was killed", remedy, code="too-large") from error
    finally:
        unfinished = bool(waiting)
        processes = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=not unfinished, cancel_futures=True)
        if unfinished:  # their results are not needed any more
            for process in processes:
                process.kill()


def _begin(work: Callable[[Any], Any], items: Sequence[Any]) -> None:
    """In a new process."""
    global _work, _items
    _work, _items = work, items
    torch = sys.modules.get("torch")
    if torch is not None:  # its threads were not copied, and the cores are taken
        torch.set_num_threads(1)


def _one(index: int) -> Any:
    assert _work is not None
    return _work(_items[index])
