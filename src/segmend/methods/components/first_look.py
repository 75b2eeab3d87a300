"""What a model's first look at labels has told, before it knew any of them by heart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from torch import nn

from segmend.functional.offsets.hierarchy import Kind, Measured, sampling_weights, scatter_ratios, trusts


class FirstLook(nn.Module):
    """Keeps how sharply a model saw each surface when it saw it first.

    Later looks flatter: few expert labels are soon known by heart, and then found again whatever the model knows of
    others. What is kept here belongs to checkpoints, and is a module for their sake.

    Attributes:
        ratios: of each kind of surface how far expert ones scattered, see ``scatter_ratios``.
        trusts: of surfaces of the other labels, by case and kind, see ``trusts``; 0 for those not seen yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ratios: dict[Kind, float] = {}
        self.trusts: dict[tuple[str, Kind], float] = {}

    def take(self, measured: Sequence[Measured]) -> None:
        """Adds what has not been seen before."""
        self.ratios = scatter_ratios(measured) | self.ratios
        self.trusts = trusts(measured) | {surface: trust for surface, trust in self.trusts.items() if trust}

    def sampling_weights(self, noisy: Iterable[str], expert: int) -> dict[str, float]:
        """How often each noisy label is to come into batches, by the mean trust over its surfaces.

        Args:
            noisy: names of the cases.
            expert: number of expert labels.

        Returns:
            See ``functional.offset_hierarchy.sampling_weights``; empty if no surface was compared with expert ones.
        """
        if not self.trusts:
            return {}
        of_cases: dict[str, list[float]] = {name: [] for name in noisy}
        for (name, _), trust in self.trusts.items():
            of_cases[name].append(trust)
        usual = fmean(self.trusts.values())  # for labels without a surface
        return sampling_weights({name: fmean(of_case or [usual]) for name, of_case in of_cases.items()}, expert)

    def get_extra_state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"ratios": self.ratios, "trusts": self.trusts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes up what ``get_extra_state`` gave."""
        self.ratios, self.trusts = dict(state["ratios"]), dict(state["trusts"])
