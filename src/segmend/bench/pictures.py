"""Pictures of a table: measured against published, and the spread over cases."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segmend.bench.table import NAMES, PERCENT, Table
from segmend.bench.unit import slug
from segmend.core.errors import printable
from segmend.core.rendering import save_picture
from segmend.metrics import draw_boxplot

_LETTERS_A_LINE = 90
_MEASURED, _PUBLISHED = "#0072B2", "0.55"


def draw_table(path: Path, table: Table) -> None:
    """Draw the first metric of every row: measured with its 95 % interval, published as an open ring.

    Args:
        path: the picture to write.
        table: at least one run of it must be done.
    """
    metric = table.plan.metrics[0]
    shown = table.summary[table.summary["metric"] == metric].dropna(subset=["mean", "published"], how="all")
    groups = [(labels, rows) for labels, rows in shown.groupby("labels", sort=False)]
    heights = [len(rows) + 1 for _, rows in groups]
    figure = Figure(figsize=(8, 0.32 * sum(heights) + 1.2), layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    scale = 100 if metric in PERCENT else 1
    for axes, (labels, rows) in zip(panels[:, 0], groups, strict=True):
        at = np.arange(len(rows))
        mean, published = scale * rows["mean"], scale * rows["published"]
        error = np.abs(scale * rows[["low", "high"]].to_numpy(dtype=float).T - mean.to_numpy(dtype=float))
        axes.hlines(at, mean, published, color="0.85", linewidth=3, zorder=1)
        axes.scatter(published, at, s=42, facecolors="white", edgecolors=_PUBLISHED, linewidths=1.5, zorder=2)
        axes.errorbar(mean, at, xerr=np.nan_to_num(error), fmt="o", color=_MEASURED, markersize=5, capsize=2, zorder=3)
        _tidy(axes, list(rows["row"]), str(labels))
    ring = "; ring: published" if shown["published"].notna().any() else ""
    panels[-1, 0].set_xlabel(f"{NAMES.get(metric, metric)}: measured (mean, 95 % interval over cases){ring}")
    figure.suptitle(textwrap.fill(table.plan.title, _LETTERS_A_LINE), fontsize=11)
    save_picture(figure, path, 150)


def draw_boxplots(out: Path, table: Table) -> None:
    """One box plot for every state of the labels, of the first seed of its rows."""
    results = table.results
    for labels, group in results.groupby("labels", sort=False):
        first = group[group["seed"] == group["seed"].min()]
        rows = {name: first[first["row"] == name] for name in table.plan.rows if (first["row"] == name).any()}
        draw_boxplot(out / f"boxplot_{slug(str(labels))}.png", rows, str(table.plan.evaluate.get("unit", "mm")))


def _tidy(axes: Axes, rows: list[str], title: str) -> None:
    axes.set_yticks(range(len(rows)), list(map(printable, rows)))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
