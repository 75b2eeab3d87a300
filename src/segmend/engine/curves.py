"""The course of a training as a picture."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from segmend.core.rendering import legend_name, save_picture

_SMOOTHED_SHARE = 0.05
"""Fraction of the rows that the thick line averages over."""


def draw_curves(log: Path, path: Path, title: str) -> None:
    """Draws the loss terms of ``log.csv`` over the steps, and the validation Dice where there is one.

    Args:
        log: the log of a run.
        path: the PNG file to write.
        title: what the picture shows.
    """
    rows = pd.read_csv(log)
    terms = [name for name in rows.columns if name not in {"step", "loss", "learning_rate", "val_dice"}]
    validated = "val_dice" in rows
    figure = Figure(figsize=(8, 6 if validated else 4), layout="constrained")
    axes = figure.subplots(2 if validated else 1, 1, sharex=True, squeeze=False)[:, 0]
    for number, name in enumerate([*terms, "loss"] if len(terms) > 1 else terms):
        values = rows.set_index("step")[name].dropna()
        colour = "black" if name == "loss" else f"C{number}"
        axes[0].plot(values, color=colour, alpha=0.25, linewidth=0.8)
        window = max(1, round(_SMOOTHED_SHARE * len(values)))
        smooth = values.rolling(window, min_periods=1, center=True).mean()
        axes[0].plot(smooth, color=colour, label=legend_name(name), linewidth=1.8)
    axes[0].set(ylabel="weighted loss terms", title=title, ylim=(0, None))
    axes[0].legend(frameon=False)
    if validated:
        axes[1].plot(rows.set_index("step")["val_dice"].dropna(), marker="o", color="C2")
        axes[1].set(ylabel="Dice on the validation cases")
    axes[-1].set_xlabel("step")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    save_picture(figure, path, 120)
