"""Networks built without memory, to determine their memory needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segmend.core.errors import InputError

M = TypeVar("M", bound=nn.Module)

_MOST_TENSORS = 100_000
_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


def build_unallocated(make: Callable[[], M]) -> M:
    """Build a module whose large tensors have a shape, but no values: it needs no memory and no random numbers.

    Small tables that constructors compute, such as relative positions, are computed.

    Raises:
        InputError: the module would not fit into the memory that is free.
    """
    with _Unallocated(psutil.virtual_memory().available):
        return make()


class _Unallocated(TorchFunctionMode):
    """Makes tensor factories return shapes alone, and adds up the memory they represent."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self._free, self._bytes, self._tensors = free, 0, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES and kwargs.get("device") is None:
            result: Tensor = func(*args, **kwargs | {"device": "meta"})
            self._count(math.prod(result.shape) * result.element_size())
            return result
        return func(*args, **kwargs)

    def _count(self, size: int) -> None:
        self._bytes += size
        self._tensors += 1
        if self._bytes > self._free or self._tensors > _MOST_TENSORS:
            needed = f"more than {self._bytes / 2**30:.1f} GiB, but {self._free / 2**30:.1f} GiB are free"
            many = f"more than {_MOST_TENSORS} tensors"
            problem = f"needs {needed if self._bytes > self._free else many}"
            raise InputError("the network", problem, "make it smaller, or take a larger machine", code="too-large")
