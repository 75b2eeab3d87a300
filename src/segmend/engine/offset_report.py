"""The distances by which the surfaces of labels were moved, against the true ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segmend.core.rendering import legend_name, save_picture
from segmend.data.cache import PreparedCase
from segmend.data.compressed import VoxelArray
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.profile import best_offset, expected_dice, sums_below

_REACH_MM = 12.0


def true_offset(case: PreparedCase, truth: VoxelArray, cls: int) -> float:
    """Find the offset of the given label, in mm, after which it agrees best with the true one, ``[*spatial]``."""
    offsets = torch.arange(-_REACH_MM, _REACH_MM, min(case.spacing) / 4, dtype=torch.float64)
    distance = torch.from_numpy(signed_distance(np.asarray(case.given) == cls, case.spacing))
    true = torch.tensor(np.asarray(truth) == cls)[None].float()
    volume, both = (sums_below(distance, maps, offsets) for maps in (torch.ones_like(true), true))
    return float(best_offset(expected_dice(volume, both, true.flatten(1).sum(1)), offsets))


def draw_offsets(table: Path, path: Path, title: str) -> None:
    """Draws the offsets of the last revision, a panel for each class: against the true ones where these are known.

    Elsewhere cases stand in the order of their offsets. Bars are standard deviations; annotators have their colours.

    Args:
        table: the ``offsets.csv`` of a run.
        path: the PNG file to write.
        title: what the picture shows.
    """
    rows = pd.read_csv(table, dtype={"case": str, "annotator": str}).fillna({"annotator": ""})
    last = rows[rows["revision"] == rows["revision"].max()]
    classes = sorted(last["label"].unique())
    figure = Figure(figsize=(4.2 * len(classes), 4.4), layout="constrained")
    for axes, cls in zip(figure.subplots(1, len(classes), squeeze=False)[0], classes, strict=True):
        _draw_class(axes, last[last["label"] == cls].sort_values("offset_mm"))
        axes.set_title(f"class {cls}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    save_picture(figure, path, 120)


def _draw_class(axes: Axes, rows: pd.DataFrame) -> None:
    known = bool(rows["true_mm"].notna().any())
    rows = rows.assign(at=rows["true_mm"] if known else np.arange(len(rows)))
    for annotator, drawn in rows.groupby("annotator"):
        name = legend_name(str(annotator)) or "annotator unknown"
        axes.errorbar(drawn["at"], drawn["offset_mm"], yerr=drawn["error_mm"], fmt="o", ms=4, lw=0.8, label=name)
    if known:
        ends = [float(rows[["at", "offset_mm"]].min().min()), float(rows[["at", "offset_mm"]].max().max())]
        axes.plot(ends, ends, color="0.7", linewidth=1, zorder=0)
    axes.axhline(0, color="0.85", linewidth=1, zorder=0)
    axes.set(xlabel="true offset (mm)" if known else "cases", ylabel="offset that labels were moved by (mm)")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
