"""Large scans in bounded memory: work in slabs, and threads that wait for room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

_SLAB_VALUES = 2**24


class MemoryBudget:
    """Lets threads run in parallel as long as their total memory fits; a larger task runs alone.

    Args:
        total: bytes for all; by default half of what is free now.
    """

    def __init__(self, total: int | None = None) -> None:
        self.total = psutil.virtual_memory().available // 2 if total is None else total
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[None]:
        """Wait until there is room for ``needed`` bytes, and reserve it for the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + needed <= self.total)
            self._held += needed
        try:
            yield
        finally:
            with self._changed:
                self._held -= needed
                self._changed.notify_all()


def slabs(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of parts of an array ``[*spatial]`` or ``[channels, *spatial]``, so that masks of each stay small.

    Arrays of one shape are cut at the same planes.
    """
    axis = int(np.argmax(array.shape[:2]))
    planes = max(1, _SLAB_VALUES * array.shape[axis] // array.size)
    for first in range(0, array.shape[axis], planes):
        yield array[:, first : first + planes] if axis else array[first : first + planes]
