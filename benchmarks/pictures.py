"""Figures of benchmark runs.

    python benchmarks/pictures.py curves --bench OUT --path curves.png
    python benchmarks/pictures.py labels --run OUT/runs/RUN/run --data OUT/labels/STATE --path labels.png

``curves``: the losses of all rows of a table over the steps, each the mean of its seeds, and where a method rewrites
labels and the truth is known, how good its labels are. Losses of different methods are not made of the same terms:
only their course can be compared. ``labels``: training cases as they were given and as the run left them, each in the
slice where the two are furthest from the truth; the cases are those at even steps of the Dice between the two.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segmend.commands.export_labels import labels as write_labels
from segmend.core.io import atomic_file
from segmend.data.image import read_image, read_label
from segmend.demo.overlays import View, draw_overlays, most_different_slice, slice_of

GIVEN, REFINED, TRUTH = "given", "as the run left it", "truth"
COLOURS = {TRUTH: "#4ade80", GIVEN: "#fb923c", REFINED: "#38bdf8"}


class BenchRun(NamedTuple):
    """A run of a bench."""

    row: str
    labels: str
    seed: int
    path: Path


def main() -> None:
    matplotlib.use("agg")
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = arguments.add_subparsers(dest="kind", required=True)
    curves = kinds.add_parser("curves")
    curves.add_argument("--bench", type=Path, required=True, help="the --out of segmend bench")
    labels = kinds.add_parser("labels")
    labels.add_argument("--run", type=Path, required=True)
    labels.add_argument("--data", type=Path, required=True, help="the run's data folder")
    labels.add_argument("--cases", type=int, default=4)
    for kind in (curves, labels):
        kind.add_argument("--path", type=Path, required=True, help="the PNG file to write")
    given = arguments.parse_args()
    if given.kind == "curves":
        draw_curves(list(runs_of(given.bench)), given.path)
    else:
        draw_labels(given.run, given.data, given.cases, given.path)


def runs_of(bench: Path) -> Iterator[BenchRun]:
    """All runs that are done, in the order of their names."""
    for unit in sorted(bench.glob("runs/*/unit.json")):
        unit_spec = json.loads(unit.read_text())
        if (unit.parent / "result.json").is_file():
            yield BenchRun(unit_spec["row"], unit_spec["labels"], unit_spec["seed"], unit.parent / "run")


def draw_curves(runs: list[BenchRun], path: Path) -> None:
    """A column for each state of the labels; bands reach from the lowest to the highest seed."""
    qualities = {run: _label_quality(run) for run in runs}
    judged = any(len(quality) for quality in qualities.values())
    states = sorted({run.labels for run in runs})
    colours = {row: f"C{number}" for number, row in enumerate(sorted({run.row for run in runs}))}
    figure = Figure(figsize=(5.5 * len(states), 6 if judged else 3.5), layout="constrained")
    cells = figure.subplots(2 if judged else 1, len(states), sharex="col", squeeze=False)
    for column, state in enumerate(states):
        of_state = [run for run in runs if run.labels == state]
        for row in sorted({run.row for run in of_state}):
            of_row = [run for run in of_state if run.row == row]
            _draw_mean(cells[0, column], [_loss(run) for run in of_row], f"{row} ({len(of_row)})", colours[row])
            if judged:
                _draw_mean(
                    cells[1, column],
                    [qualities[run] for run in of_row if len(qualities[run])],
                    row,
                    colours[row],
                    marker="o",
                )
        cells[0, column].set(title=state, ylim=(0, None))
        cells[0, column].legend(frameon=False)
        cells[-1, column].set_xlabel("step")
    cells[0, 0].set_ylabel("loss, mean of the seeds")
    if judged:
        cells[1, 0].set_ylabel("Dice of the labels to the truth")
    for axes in cells.flat:
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120)


def _loss(run: BenchRun) -> pd.Series[float]:
    losses = pd.read_csv(run.path / "log.csv").set_index("step")["loss"].dropna()
    return losses.rolling(max(1, len(losses) // 20), min_periods=1, center=True).mean()


def _label_quality(run: BenchRun) -> pd.Series[float]:
    """Mean Dice of noisy labels to the truth by the step of the revision, of the first layer; empty if not known."""
    table = run.path / "labels.csv"
    if not table.is_file():
        return pd.Series(dtype=float)
    rows = pd.read_csv(table)
    rows = rows[(rows["quality"] == "noisy") & rows["dice_to_truth"].notna()]
    rows = rows[rows["layer"] == rows["layer"].min()]
    means: pd.Series[float] = (
        rows.groupby("revision")[["step", "dice_to_truth"]].mean().set_index("step").squeeze(axis=1)
    )
    return means


def _draw_mean(axes: Axes, courses: list[pd.Series[float]], label: str, colour: str, marker: str = "") -> None:
    if not courses:
        return
    together = pd.concat(courses, axis=1).sort_index()
    steps = together.index.to_numpy()
    axes.plot(steps, together.mean(axis=1), color=colour, label=label, marker=marker, markersize=4)
    axes.fill_between(steps, together.min(axis=1), together.max(axis=1), color=colour, alpha=0.15, linewidth=0)


def draw_labels(run: Path, data: Path, count: int, path: Path) -> None:
    """A row for each case: the scan, its given label, and the label that the run left."""
    table = pd.read_csv(run / "labels.csv", dtype={"case": str})
    changed = table[table["revision"] == table["revision"].max()].dropna(subset="dice_to_given")
    changed = changed.groupby("case")["dice_to_given"].mean().sort_values()
    chosen = changed.index[np.linspace(0, len(changed) - 1, count + 2).round().astype(int)[1:-1]]
    with TemporaryDirectory() as folder:
        write_labels(run=run, out=Path(folder) / "labels")
        views = [_views(case, data, Path(folder) / "labels") for case in chosen]
    draw_overlays(path, views, COLOURS)


def _views(case: str, data: Path, refined: Path) -> list[View]:
    """The scan alone, with true and given label, and with true and refined label."""
    file = next(refined.glob(f"{case}.*")).name
    image, grid = read_image(next((data / "imagesTr").glob(f"{case}_0000.*")))
    given, new = (read_label(place / file)[0] for place in (data / "labelsTr", refined))
    truth_file = data / "labelsTr_clean" / file
    truth = {TRUTH: read_label(truth_file)[0]} if truth_file.is_file() else {}
    position = most_different_slice(truth.get(TRUTH, new), [given, new], grid)
    shown = {case: {}, GIVEN: {**truth, GIVEN: given}, REFINED: {**truth, REFINED: new}}
    return [slice_of(title, image[0], labels, grid, position) for title, labels in shown.items()]


if __name__ == "__main__":
    main()
