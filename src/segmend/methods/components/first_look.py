"""What a model's first evaluation of the labels showed, before it had memorised any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from torch import nn

from segmend.functional.offsets.hierarchy import Kind, Measured, sampling_weights, scatter_ratios, trusts


class FirstLook(nn.Module):
    """Keeps how sharply a model saw each surface when it first saw it.

    Later evaluations are optimistic: the model soon memorises a few expert labels, and then finds them again whatever
    it knows of others. The values kept here belong in checkpoints; therefore this is a module.

    Attributes:
        ratios: for each kind of surface, how much the expert ones scattered, see ``scatter_ratios``.
        trusts: for the surfaces of the other labels, by case and kind, see ``trusts``; 0 for those not seen yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ratios: dict[Kind, float] = {}
        self.trusts: dict[tuple[str, Kind], float] = {}

    def take(self, measured: Sequence[Measured]) -> None:
        """Add what has not been seen before."""
        self.ratios = scatter_ratios(measured) | self.ratios
        self.trusts = trusts(measured) | {surface: trust for surface, trust in self.trusts.items() if trust}

    def sampling_weights(self, noisy: Iterable[str], expert: int) -> dict[str, float]:
        """Compute how often to sample each noisy label, from the mean reliability of its surfaces.

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
        """Restore what ``get_extra_state`` returned."""
        self.ratios, self.trusts = dict(state["ratios"]), dict(state["trusts"])
