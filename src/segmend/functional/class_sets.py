"""Losses where a set of possible classes is known of a voxel, not its class.

In a case in which only some classes are annotated, a voxel outside of them is background or any of the others. The
probability of such a set is the sum of those of its classes: the marginal loss (Shi et al., Medical Image Analysis
2021). As in ``functional.regions``, the caller of a method says which sets there are; labels hold their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.core.regions import FIRST_SET

_SETS: ContextVar[tuple[tuple[int, ...], ...]] = ContextVar("sets", default=())


@contextmanager
def class_sets(members: Sequence[tuple[int, ...]]) -> Iterator[None]:
    """Within this block, label value ``FIRST_SET + k`` stands for the k-th set.

    Args:
        members: class indices of each set; none if all labels are complete.
    """
    token = _SETS.set(tuple(members))
    try:
        yield
    finally:
        _SETS.reset(token)


def sets_are_known() -> bool:
    """Whether labels may hold sets."""
    return bool(_SETS.get())


def with_sets(log_probabilities: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of classes and sets, and labels that index both.

    Args:
        log_probabilities: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices, sets or ``IGNORE``.

    Returns:
        ``[B, C + sets, *spatial]``, and the label with set k as C + k and ``IGNORE`` as -1.
    """
    unions = [torch.stack([log_probabilities[:, index] for index in members]).logsumexp(0) for members in _SETS.get()]
    extended = torch.cat([log_probabilities, torch.stack(unions, 1)], 1) if unions else log_probabilities
    number = label.where(label < FIRST_SET, label - FIRST_SET + log_probabilities.shape[1])
    return extended, number.masked_fill(label == IGNORE, -1)


def counted(label: Tensor, classes: int) -> Tensor:
    """Where it is known of a voxel whether it belongs to a class.

    Args:
        label: ``[B, *spatial]`` class indices, sets or ``IGNORE``.
        classes: C.

    Returns:
        Boolean ``[B, C, *spatial]``, or ``[B, 1, *spatial]`` if that is the same for all classes: false where the label
        is ``IGNORE``, and for the classes of a set.
    """
    known = (label != IGNORE).unsqueeze(1)
    sets = _SETS.get()
    if not sets:
        return known
    undecided = torch.zeros(len(label), classes, *label.shape[1:], dtype=torch.bool, device=label.device)
    for number, members in enumerate(sets, start=FIRST_SET):
        for index in members:
            undecided[:, index] |= label == number
    return known & ~undecided
