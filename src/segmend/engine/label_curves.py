"""The course of the labels that a training rewrites, as a picture."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segmend.core.rendering import save_picture

GOOD = 0.9
"""Given labels with this Dice to the truth or more need no correction; they should at least not get worse."""


def draw_label_curves(table: Path, path: Path, title: str) -> None:
    """Draws how many voxels were rewritten and, where the truth is known, how good noisy labels are, over the steps.

    Args:
        table: the ``labels.csv`` of a run.
        path: the PNG file to write.
        title: what the picture shows.
    """
    rows = pd.read_csv(table, dtype={"case": str})
    judged = rows[(rows["quality"] == "noisy") & rows["dice_to_truth"].notna()]
    figure = Figure(figsize=(10, 4 if judged.empty else 6), layout="constrained")
    axes = figure.subplots(1 if judged.empty else 2, 1, sharex=True, squeeze=False)[:, 0]
    _draw_changes(axes[0], rows)
    axes[0].set(title=title, ylabel="voxels changed, mean of the cases", ylim=(0, None))
    if not judged.empty:
        _draw_quality(axes[1], judged)
        axes[1].set(ylabel="Dice of noisy labels to the truth")
    axes[-1].set_xlabel("step")
    for axis in axes:
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        axis.spines[["top", "right"]].set_visible(False)
    save_picture(figure, path, 120)


def _draw_changes(axes: Axes, rows: pd.DataFrame) -> None:
    for number, (layer, of_layer) in enumerate(rows.groupby("layer")):
        revised, labelled = of_layer[of_layer["revision"] > 0], of_layer[of_layer["dice_to_given"].notna()]
        _draw(axes, revised, "changed", f"{layer}: since the revision before", f"C{number}", "-")
        _draw(axes, labelled, "changed_from_given", f"{layer}: since the given labels", f"C{number}", "--")


def _draw_quality(axes: Axes, judged: pd.DataFrame) -> None:
    for number, (layer, rows) in enumerate(judged.groupby("layer")):
        given = rows[rows["revision"] == 0].set_index("case")["dice_to_truth"]
        good = rows["case"].isin(given.index[given >= GOOD])
        for chosen, name, style in ((rows, "all", "-"), (rows[good], "good from the start", "--")):
            count = chosen["case"].nunique()
            if count:
                _draw(axes, chosen, "dice_to_truth", f"{layer}: {name} ({count})", f"C{number}", style)


def _draw(axes: Axes, rows: pd.DataFrame, column: str, label: str, colour: str, style: str) -> None:
    """The mean over the cases, at the step that first saw it."""
    means = rows.groupby("revision")[["step", column]].mean()
    axes.plot(means["step"], means[column], label=label, color=colour, linestyle=style, marker="o", markersize=4)
