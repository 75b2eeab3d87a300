"""How much each voxel of a label counts in a training, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segmend.core.masks import IGNORE
from segmend.core.rendering import save_picture
from segmend.demo.overlays import GROUND, INK

_HEADINGS = ("image", "given label", "pseudo label", "weight of given label", "weight of pseudo label")
_OBJECTS = ListedColormap(["#e41a1c", "#377eb8", "#4daf4a", "#984ea3", "#ff7f00", "#ffff33", "#a65628", "#f781bf"])
_INCHES = 2.4
_DOTS = 110
_BRIGHTEST = 99
"""Percentile of the weights that are above 0 at which the scale ends; a few voxels may have most of the weight."""


@dataclass(frozen=True, eq=False)
class WeightedSlice:
    """A slice of a noisy sample; the first axis of all arrays runs down, the second to the right.

    Attributes:
        title: stands at its left.
        image: ``[rows, columns]``.
        given_label: class indices; ``IGNORE`` where nothing is known.
        pseudo_label: the network's own, likewise.
        given_weight: what each voxel of the given label counts, >= 0.
        pseudo_weight: what each of the pseudo label counts.
    """

    title: str
    image: NDArray[np.float32]
    given_label: NDArray[np.integer]
    pseudo_label: NDArray[np.integer]
    given_weight: NDArray[np.float32]
    pseudo_weight: NDArray[np.float32]


def draw_weights(path: Path, slices: Sequence[WeightedSlice]) -> None:
    """Draws a row for each slice: the image, both labels over it, and both weights on one scale.

    Weights are shown as multiples of their mean over both maps, so that slices can be compared.

    Args:
        path: the picture to write; its ending chooses the format.
        slices: at least one.
    """
    ratio = max(each.image.shape[0] / each.image.shape[1] for each in slices)
    size = (_INCHES * len(_HEADINGS) + 1, (_INCHES * ratio + 0.2) * len(slices) + 0.3)
    figure = Figure(figsize=size, layout="constrained", facecolor=GROUND)
    cells = figure.subplots(len(slices), len(_HEADINGS), squeeze=False)
    for axes, heading in zip(cells[0], _HEADINGS, strict=True):
        axes.set_title(heading, color=INK, fontsize=10)
    for row, each in zip(cells, slices, strict=True):
        for axes in row:
            axes.set(xticks=[], yticks=[], frame_on=False)
        row[0].set_ylabel(each.title, color=INK, fontsize=10, parse_math=False)
        low, high = np.percentile(each.image, [1, 99.5])
        for axes in row[:3]:
            axes.imshow(each.image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        _draw_label(row[1], each.given_label)
        _draw_label(row[2], each.pseudo_label)
        _draw_maps(figure, row[3:], each.given_weight, each.pseudo_weight)
    save_picture(figure, path, _DOTS)


def _draw_label(axes: Axes, label: NDArray[np.integer]) -> None:
    """Objects in colours, unknown voxels in grey, nothing over the background."""
    objects = np.ma.masked_where((label == 0) | (label == IGNORE), (label.astype(int) - 1) % _OBJECTS.N)
    axes.imshow(objects, cmap=_OBJECTS, vmin=-0.5, vmax=_OBJECTS.N - 0.5, alpha=0.55, interpolation="nearest")
    unknown = np.ma.masked_where(label != IGNORE, np.ones(label.shape))
    axes.imshow(unknown, cmap="gray", vmin=0, vmax=2, alpha=0.6, interpolation="nearest")


def _draw_maps(figure: Figure, cells: Sequence[Axes], *maps: NDArray[np.float32]) -> None:
    weights = np.stack(maps)
    multiples = weights / (weights.mean() or 1)
    positive = multiples[multiples > 0]
    scale = Normalize(0, np.percentile(positive, _BRIGHTEST) if positive.size else 1)
    for axes, each in zip(cells, multiples, strict=True):
        axes.imshow(each, cmap="magma", norm=scale, interpolation="nearest")
    bar = figure.colorbar(ScalarMappable(scale, "magma"), ax=list(cells), extend="max", pad=0.01)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label("times the mean weight", color=INK, fontsize=8)
