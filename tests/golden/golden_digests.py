"""Digests of results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of arrays, in their order: of types, shapes and bytes."""
    return _joined([_digest(array) for array in arrays])


def digest_in_any_order(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of arrays that does not depend on their order: parts of a network may be rearranged."""
    return _joined(sorted(_digest(array) for array in arrays))


def digest_of_numbers(numbers: Iterable[float | None]) -> str:
    """A digest of numbers to nine digits: the order of a sum does not matter."""
    return _joined([f"{number:.8e}" if number is not None else "undefined" for number in numbers])


def _digest(array: NDArray[Any]) -> str:
    head = f"{array.dtype.name}{array.shape}"
    return hashlib.blake2b(head.encode() + np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def _joined(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def size_of(arrays: Iterable[NDArray[Any]]) -> float:
    """The root of the sum of all squares."""
    return float(np.sqrt(sum(np.square(array, dtype=float).sum() for array in arrays)))
