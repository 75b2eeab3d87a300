"""Box plots of one or several results: the distribution of the scores over cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segmend.core.errors import printable
from segmend.core.rendering import legend_name, save_picture
from segmend.metrics.results import DISTANCES

_PANELS: Final = {"dice": "Dice", "nsd": "NSD", "hd95": "HD95", "assd": "ASSD"}
_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""The palette of Okabe and Ito, which colour-blind readers can distinguish."""
_HATCHES: Final = ("", "////", "....", "xxxx")
"""Tables beyond the last colour reuse the colours, with another hatch."""


def draw_boxplot(path: Path, tables: Mapping[str, pd.DataFrame], unit: str) -> None:
    """Draw Dice, NSD, HD95 and ASSD of each label: a point for each case, and a box over them.

    Boxes show quartiles and median, whiskers reach up to 1.5 times the box further. The number of undefined values,
    which are not shown, is given above each panel.

    Args:
        path: the picture to write; its ending chooses the format.
        tables: result tables by the name to show.
        unit: unit of the distances.
    """
    labels = list(dict.fromkeys(label for table in tables.values() for label in table["label"]))
    width = min(max(4.0, 0.9 + 0.5 * len(labels) * len(tables)), 40.0)
    rows, columns = (2, 2) if width < 8 else (4, 1)
    figure = Figure(figsize=(columns * width, rows * 3.75), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(rows, columns).flat, _PANELS.items(), strict=True):
        undefined = sum(int(table[metric].isna().sum()) for table in tables.values())
        of_unit = f" ({unit})" if metric in DISTANCES else ""
        axes.set_title(title + of_unit + (f", {undefined} undefined" if undefined else ""), fontsize=11)
        for index, table in enumerate(tables.values()):
            _draw_boxes(axes, [table.loc[table["label"] == label, metric] for label in labels], index, len(tables))
        _tidy(axes, labels)
    if len(tables) > 1:
        patches = [Patch(label=legend_name(name), **_style(index)) for index, name in enumerate(tables)]
        figure.legend(handles=patches, loc="outside upper center", ncols=min(len(tables), 4), frameon=False)
    save_picture(figure, path, 150)


def _draw_boxes(axes: Axes, values: list[pd.Series[float]], index: int, count: int) -> None:
    """The boxes of one table, which is number ``index`` of ``count`` in the group of each label."""
    slot = min(0.8 / count, 0.4)
    centres = np.arange(len(values)) + (index - (count - 1) / 2) * slot
    boxes = axes.boxplot(
        [of_label.dropna().to_numpy() for of_label in values],
        positions=centres,
        widths=0.8 * slot,
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        medianprops={"color": "black", "linewidth": 1.5},
        whiskerprops={"color": "0.4"},
        capprops={"color": "0.4"},
    )
    for box in boxes["boxes"]:
        box.set(**_style(index))
    for centre, of_label in zip(centres, values, strict=True):
        # Steps of the golden ratio spread the points evenly, and reproducibly.
        spread = np.arange(len(of_label)) * 0.618034 % 1 - 0.5
        axes.scatter(centre + 0.5 * slot * spread, of_label, s=10, color=_colour(index), linewidths=0, zorder=3)


def _tidy(axes: Axes, labels: list[str]) -> None:
    crowded = sum(map(len, labels)) > 30
    rotation, alignment = (40, "right") if crowded else (0, "center")
    axes.set_xticks(range(len(labels)), list(map(printable, labels)), rotation=rotation, ha=alignment)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _style(index: int) -> dict[str, Any]:
    """Of the boxes of one table."""
    hatch = _HATCHES[index // len(_COLOURS) % len(_HATCHES)]
    return {"facecolor": (_colour(index), 0.35), "edgecolor": _colour(index), "hatch": hatch}


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]
