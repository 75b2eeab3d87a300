"""Several warped views of one batch, and the combination of their predictions.

``random_views`` draws from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.consistency import squared_difference
from segmend.functional.geometry import Compose, Flip, Mode, Warp, Zoom
from segmend.functional.weighting import masked_mean

_MARGINS = (4 / 144, 30 / 144)
"""Least and largest margin that a zoom cuts off or adds at each side, as a fraction of the side."""


@dataclass(frozen=True, eq=False)
class Views:
    """Warped versions of one batch; rows are ordered view by view.

    Attributes:
        warps: what makes each view of the batch; the first should leave it as it is.
    """

    warps: tuple[Warp, ...]

    def of(self, x: Tensor, mode: Mode = "linear", fill: float = 0.0) -> Tensor:
        """All views of ``[B, ...]``, as ``[V * B, ...]``; see ``Warp`` for the arguments."""
        return torch.cat([warp(x, mode, fill) for warp in self.warps])

    def mean(self, probabilities: Tensor) -> Tensor:
        """Mean prediction in the frame of the batch, over the views that show a voxel (MLB-Seg, Eq. 10).

        Args:
            probabilities: ``[V * B, C, *spatial]``, summing to 1 over the classes; at least one view shows each voxel.

        Returns:
            ``[B, C, *spatial]``, summing to 1.
        """
        views = zip(self.warps, probabilities.chunk(len(self.warps)), strict=True)
        total = torch.stack([warp.inverse()(view) for warp, view in views]).sum(0)
        return total / total.sum(1, keepdim=True)

    def consensus(self, probabilities: Tensor) -> Tensor:
        """Class of the mean prediction, as each view shows it.

        Args:
            probabilities: as for ``mean``.

        Returns:
            Class indices ``[V * B, *spatial]``; ``IGNORE`` where a view shows nothing of the batch.
        """
        mean = self.mean(probabilities)
        inside = torch.cat([warp.inside(mean.shape[2:], mean.device) for warp in self.warps])
        return self.of(mean).argmax(1).masked_fill(~inside, IGNORE)

    def disagreement(self, probabilities: Tensor, *, detach_partner: bool = False) -> Tensor:
        """Mean over all pairs of views of their mean squared difference (MLB-Seg, Eq. 11).

        The later view is warped onto the earlier one; voxels that either does not show are left out.

        Args:
            probabilities: ``[V * B, C, *spatial]`` of at least two views.
            detach_partner: no gradient flows into the view that is warped.

        Returns:
            Scalar, >= 0.
        """
        views = list(zip(self.warps, probabilities.chunk(len(self.warps)), strict=True))
        differences = []
        for (warp, view), (other, partner) in combinations(views, 2):
            onto = Compose((other.inverse(), warp))
            warped = onto(partner.detach() if detach_partner else partner)
            shape, device = view.shape[2:], view.device
            seen = onto.inside(shape, device) & warp.inside(shape, device)
            differences.append(masked_mean(squared_difference(view, warped), seen))
        return torch.stack(differences).mean()


def random_views(count: int, dimensions: int, zoomed_in: int, zoomed_out: int, flipped: int) -> Views:
    """The batch itself and warped views of it, as MLB-Seg draws them, each sample by its own amount.

    Zooms put the border 3 to 21 % of a side outside the view, or inside it (4 to 30 of 144 pixels), the same along all
    axes. Flips mirror any axes, but at least one.

    Args:
        count: samples of the batch.
        dimensions: number of spatial axes.
        zoomed_in: enlarged views.
        zoomed_out: shrunk views.
        flipped: mirrored views.
    """
    warps: list[Warp] = [Flip(torch.zeros(count, dimensions, dtype=torch.bool))]
    for sign in [1] * zoomed_in + [-1] * zoomed_out:
        warps.append(Zoom(1 + sign * 2 * torch.empty(count, 1).uniform_(*_MARGINS), dimensions))
    for _ in range(flipped):
        chosen = torch.randint(1, 2**dimensions, (count, 1))
        warps.append(Flip(chosen.bitwise_and(2 ** torch.arange(dimensions)) > 0))
    return Views(tuple(warps))


def mean_over_warps(logits_of: Callable[[Tensor], Tensor], image: Tensor, warps: Sequence[Warp]) -> Tensor:
    """Mean probabilities of an image over warped copies of it, in the image's own frame.

    Voxels that a warp brings into the copy from outside have the minimum intensity of their sample and channel. Logits
    are warped back before the softmax, so where a copy does not show a voxel, it supports all classes equally.

    Args:
        logits_of: a network.
        image: ``[B, channels, *spatial]``.
        warps: one for each copy.

    Returns:
        ``[B, C, *spatial]`` float32, summing to 1.
    """
    darkest = image.amin(tuple(range(2, image.ndim)), keepdim=True)
    predictions = []
    for warp in warps:
        logits = logits_of(warp(image - darkest) + darkest).float()
        predictions.append(warp.inverse()(logits).softmax(1))
    return torch.stack(predictions).mean(0)
