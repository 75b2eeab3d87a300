"""The cases of a batch: a function of seed and step alone, so that a resumed run uses the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segmend.core.batch import Composition
from segmend.core.case import Case, Quality
from segmend.core.errors import InputError


@dataclass(frozen=True)
class BatchPlan:
    """Draws the cases of every batch.

    Each quality has its own stream: it goes through its cases in random order without replacement, is shuffled again
    after each round, and yields as many samples per step as the composition says. Several processes share the streams,
    so together they cover the same data. If cases are not sampled uniformly, each sample is drawn independently at
    random.

    Attributes:
        streams: for each quality, the positions of its cases and the samples it gives to a batch.
        seed: decides everything.
    """

    streams: tuple[tuple[tuple[int, ...], int], ...]
    seed: int

    @classmethod
    def of(cls, cases: Sequence[Case], composition: Composition, seed: int, purpose: str) -> BatchPlan:
        """Sort the training cases into streams.

        Args:
            cases: the training cases; positions refer to this sequence.
            composition: samples of each quality.
            seed: decides everything.
            purpose: the user of this composition, for the message.

        Raises:
            InputError: the batch is empty, or there is no case of a quality that is asked for.
        """
        wanted = {
            "expert": ((Quality.EXPERT,), composition.expert),
            "noisy": ((Quality.NOISY,), composition.noisy),
            "unlabelled": ((Quality.NONE,), composition.unlabelled),
            "labelled": ((Quality.EXPERT, Quality.NOISY), composition.any_labelled),
        }
        if composition.size < 1 or min(count for _, count in wanted.values()) < 0:
            raise InputError(
                "batch", f"it would hold {composition}", "ask for at least one sample", code="invalid-value"
            )
        streams = []
        for name, (qualities, count) in wanted.items():
            members = tuple(i for i, case in enumerate(cases) if case.quality in qualities)
            if count and not members:
                present = ", ".join(f"{sum(c.quality is q for c in cases)} {q}" for q in Quality)
                raise InputError(
                    purpose,
                    f"takes {composition} samples a batch, but there is no {name} training case ({present})",
                    "mark cases in the 'quality' column of cases.csv, choose another method, "
                    "or set `expert`, `noisy` and `unlabelled`",
                    code="no-data",
                )
            if count:
                streams.append((members, count))
        return cls(tuple(streams), seed)

    @property
    def size(self) -> int:
        """Samples in a batch."""
        return sum(count for _, count in self.streams)

    def cases_at(
        self, step: int, rank: int = 0, processes: int = 1, weights: Sequence[float] | None = None
    ) -> Iterator[int]:
        """Positions of the cases in the batch of a step, for one of several processes.

        Args:
            step: optimiser steps done before.
            rank: number of the process.
            processes: how many there are.
            weights: sampling weight of each case of the sequence, relative to the others of its stream; >= 0.
        """
        for stream, (members, count) in enumerate(self.streams):
            first = (step * processes + rank) * count
            below = None if weights is None else np.cumsum([weights[member] for member in members])
            for draw in range(first, first + count):
                if below is None or not below[-1]:
                    turn, place = divmod(draw, len(members))
                    yield members[_permutation(self.seed, stream, turn, len(members))[place]]
                else:
                    lot = np.random.default_rng((self.seed, stream, draw, 1)).random()
                    yield members[np.searchsorted(below, lot * below[-1], side="right")]


@lru_cache(maxsize=64)
def _permutation(seed: int, stream: int, turn: int, length: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, stream, turn)).permutation(length)
