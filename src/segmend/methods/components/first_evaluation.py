"""Statistics of a model's first evaluation of the labels, before it memorises any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from torch import nn

from segmend.functional.offsets.correction import MeasuredOffset, scatter_ratios
from segmend.functional.offsets.reliability import sampling_weights, surface_reliabilities
from segmend.functional.offsets.surfaces import SurfaceKind


class FirstEvaluation(nn.Module):
    """Keeps how precisely a model located each surface when it first detected it.

    Later evaluations are optimistic: the model soon memorises a few expert labels, and then detects their surfaces
    whatever it has learned of other cases. The values kept here belong in checkpoints; therefore this is a module.

    Attributes:
        scatter_ratios: by kind of surface, how much the expert ones scattered, see ``scatter_ratios``.
        reliabilities: of the surfaces of noisy labels, by case and kind, see ``surface_reliabilities``; 0 for those
            that have not been detected yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scatter_ratios: dict[SurfaceKind, float] = {}
        self.reliabilities: dict[tuple[str, SurfaceKind], float] = {}

    def update(self, measured: Sequence[MeasuredOffset]) -> None:
        """Add the statistics of what has not been detected before."""
        self.scatter_ratios = scatter_ratios(measured) | self.scatter_ratios
        detected = {surface: reliability for surface, reliability in self.reliabilities.items() if reliability}
        self.reliabilities = surface_reliabilities(measured) | detected

    def sampling_weights(self, noisy: Iterable[str], expert: int) -> dict[str, float]:
        """Compute how often to sample each noisy label, from the mean reliability of its surfaces.

        Args:
            noisy: names of the cases.
            expert: number of expert labels.

        Returns:
            See ``functional.offsets.reliability.sampling_weights``; empty if no surface could be compared with expert
            ones.
        """
        if not self.reliabilities:
            return {}
        of_cases: dict[str, list[float]] = {name: [] for name in noisy}
        for (name, _), reliability in self.reliabilities.items():
            of_cases[name].append(reliability)
        mean = fmean(self.reliabilities.values())  # for labels without a surface
        return sampling_weights({name: fmean(of_case or [mean]) for name, of_case in of_cases.items()}, expert)

    def get_extra_state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"scatter_ratios": self.scatter_ratios, "reliabilities": self.reliabilities}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_extra_state`` returned."""
        self.scatter_ratios, self.reliabilities = dict(state["scatter_ratios"]), dict(state["reliabilities"])
