from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from segmend.data import memory
from segmend.data.memory import MemoryBudget, slabs


class TestBudget:
    def run(self, sizes, total):
        """The most that was held at once, by threads that each reserve a size."""
        budget, lock, held, most = MemoryBudget(total), threading.Lock(), [0], [0]

        def work(size):
            with budget.reserve(size):
                with lock:
                    held[0] += size
                    most[0] = max(most[0], held[0])
                threading.Event().wait(0.005)
                with lock:
                    held[0] -= size

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, sizes))
        return most[0]

    def test_threads_stay_within_it(self):
        assert self.run([4] * 20, total=10) == 8

    def test_what_is_larger_than_all_of_it_goes_alone(self):
        assert self.run([50, 1, 50, 1], total=10) == 50

    def test_room_is_given_back_after_an_error(self):
        budget = MemoryBudget(10)
        with pytest.raises(ValueError, match="wrong"), budget.reserve(10):
            raise ValueError("wrong")
        with budget.reserve(10):
            pass

    def test_half_of_what_is_free_is_shared_by_default(self):
        assert MemoryBudget().total > 2**20


@pytest.mark.parametrize("shape", [(7, 6, 5), (1, 9, 4, 3), (3, 2, 8), (1, 1, 1), (1, 5)])
@pytest.mark.parametrize("values", [1, 20, 10**6])
def test_slabs_cover_an_array_once(monkeypatch, shape, values):
    monkeypatch.setattr(memory, "_SLAB_VALUES", values)
    array = np.zeros(shape)
    for slab in slabs(array):
        slab += 1
    assert (array == 1).all()
    assert max(slab.size for slab in slabs(array)) <= max(values, array.size // max(shape[:2]))
