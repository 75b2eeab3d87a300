"""Small-loss selection: trust the labels that a network finds easy, and fewer of them as training proceeds."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmend.core.errors import InputError
from segmend.functional.ramps import keep_fraction
from segmend.functional.selection import Scope, small_loss_voxels
from segmend.networks import Network


class SmallLossSelection:
    """Selects the voxels whose labels are trusted: those with the smallest losses.

    Their fraction decreases from 1 to 1 - noise_rate, as in co-teaching (Han et al., NeurIPS 2018, Eq. 3).

    Args:
        network: whose classes the labels are of.
        noise_rate: fraction of wrong labels, 0 to below 1: one for all, or one for each class, background first.
        ramp_length: fraction of the run after which that many are left out.
        exponent: above 1, the exclusion starts more slowly.
        scope: what competes for a small loss, see ``small_loss_voxels``.

    Raises:
        InputError: a rate is out of range, or there are several although the scope has no classes to assign them to.
    """

    def __init__(
        self,
        network: Network,
        *,
        noise_rate: float | Sequence[float],
        ramp_length: float,
        exponent: float,
        scope: Scope,
    ) -> None:
        self.rates = tuple(noise_rate) if isinstance(noise_rate, Sequence) else (noise_rate,)
        self.ramp_length, self.exponent = ramp_length, exponent
        self.scope: Scope = scope
        classes = network.arguments["classes"]
        if not all(0 <= rate < 1 for rate in self.rates):
            raise InputError(
                "method.noise_rate",
                f"{noise_rate} is not usable",
                "give shares from 0 to below 1",
                code="invalid-value",
            )
        if len(self.rates) != 1 and (len(self.rates) != classes or scope != "class"):
            raise InputError(
                "method.noise_rate",
                f"has {len(self.rates)} values, for {classes} classes and scope {scope}",
                "give one value, or with `method.scope class` one for each class, background first",
                code="mismatch",
            )

    def select(self, losses: Tensor, label: Tensor, among: Tensor, progress: float) -> Tensor:
        """The trusted voxels at this point of the run: boolean ``[B, *spatial]``, true only where ``among`` is.

        Args:
            losses: ``[B, *spatial]``.
            label: ``[B, *spatial]`` class indices.
            among: boolean ``[B, *spatial]``: the voxels that count.
            progress: completed fraction of the run, 0..1.
        """
        shares = [keep_fraction(progress, rate, self.ramp_length, self.exponent) for rate in self.rates]
        return small_loss_voxels(losses, label, shares, scope=self.scope, among=among)
