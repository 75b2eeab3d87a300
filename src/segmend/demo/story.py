"""The report of ``segmend demo``, and the pictures in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.data.image import Grid, read_image, read_label
from segmend.demo.overlays import View, draw_overlays, most_different_slice, slice_of
from segmend.demo.page import Page, Picture, Section, Table, write_page
from segmend.engine.curves import draw_curves
from segmend.metrics import compare, draw_boxplot, read_table, summarise

_TRUTH, _NOISY = "truth", "noisy label"
_COLOURS = {_TRUTH: "#7ce577", _NOISY: "#ff6fb5"}
_COLOURS_OF_METHODS = ("#5ab4f0", "#ffb000", "#c792ea")
METRICS = {"dice": "Dice", "jaccard": "Jaccard", "hd95": "HD95 (mm)", "asd": "ASD (mm)"}
"""What the tables of the demo show, by the columns of a result table."""

Voxels = tuple[NDArray[np.float32], NDArray[np.integer], Grid]
"""First channel and true label of a scan, and where both lie."""


@dataclass(frozen=True)
class DemoFolder:
    """Where the demo leaves what.

    Attributes:
        root: the folder.
        methods: what is compared, by folder-worthy names; the last one is held against the first.
    """

    root: Path
    methods: Sequence[str]

    @property
    def data(self) -> Path:
        """Phantoms with their true labels."""
        return self.root / "data"

    @property
    def noisy(self) -> Path:
        """The same phantoms; most training labels are noisy."""
        return self.root / "noisy"

    @property
    def pictures(self) -> Path:
        """The pictures of the report."""
        return self.root / "pictures"

    def run(self, method: str) -> Path:
        """A training."""
        return self.root / "runs" / method

    def predictions(self, method: str) -> Path:
        """Its predictions of the test scans."""
        return self.root / "predictions" / method

    def scores(self, method: str) -> Path:
        """How good that is, case by case."""
        return self.root / "predictions" / f"{method}.csv"

    def tables(self) -> dict[str, pd.DataFrame]:
        """All scores by method."""
        return {method: read_table(self.scores(method)) for method in self.methods}

    def corruption(self) -> pd.DataFrame:
        """What was done to the labels."""
        return pd.read_csv(self.noisy / "corruption.csv")


def write_story(folder: DemoFolder, settings: Mapping[str, object], commands: Sequence[str]) -> Path:
    """Draws the pictures and writes ``report.html``.

    Args:
        folder: of a demo with all scores.
        settings: values to show, by name.
        commands: the lines of a shell that do the same.

    Returns:
        The page.
    """
    tables = folder.tables()
    first, last = folder.methods[0], folder.methods[-1]
    better = int((tables[last]["dice"] > tables[first]["dice"]).sum())
    noisy = folder.corruption()
    figures = [(f"{noisy['dice'].mean():.2f}", "Dice of the noisy labels to the truth")]
    figures += [(f"{tables[method]['dice'].mean():.3f}", f"Dice of {method} on test scans") for method in (first, last)]
    figures += [(f"{better} of {len(tables[last])}", f"test scans on which {last} is better")]
    page = Page(
        title="Segmend demo",
        lead=f"Most labels of these synthetic scans were corrupted on purpose. {first} treats all of them as correct; "
        f"{last} estimates which voxels of a noisy label are reliable. Network, data, batch size and steps are the "
        "same.",
        figures=figures,
        sections=[
            _what_was_done(settings, commands),
            _labels(folder, noisy),
            _results(folder, tables),
            _test_scans(folder, tables),
            Section("Training", pictures=[_curves(folder, method) for method in folder.methods]),
            _files(folder),
        ],
        footer="Written by 'segmend demo'. The scans are drawn by a computer; no result here says anything about "
        "patients, or about which method is best for yours.",
    )
    write_page(folder.root / "report.html", page)
    return folder.root / "report.html"


def _what_was_done(settings: Mapping[str, object], commands: Sequence[str]) -> Section:
    return Section(
        "What was done",
        tables=[Table(tuple(settings), [tuple(map(str, settings.values()))], "Arguments of the demo", numbers=False)],
        paragraphs=["With data of your own you would type the same:"],
        commands=commands,
    )


def _labels(folder: DemoFolder, noisy: pd.DataFrame) -> Section:
    """Several noisy labels, from the worst to the best."""
    ranked = noisy.sort_values("dice", kind="stable").reset_index(drop=True)
    views = []
    for row in ranked.iloc[_spread(len(ranked), 6)].itertuples():
        image, truth, grid = _read(folder.data, "Tr", str(row.case))
        label, _ = read_label(folder.noisy / "labelsTr" / f"{row.case}.nii.gz")
        position = most_different_slice(truth, [label], grid)
        title = f"{row.case}: {row.operation}, Dice {row.dice:.2f}"
        views.append(slice_of(title, image, {_TRUTH: truth, _NOISY: label}, grid, position))
    picture = folder.pictures / "labels.png"
    draw_overlays(picture, [views[:3], views[3:]] if len(views) > 3 else [views], _COLOURS)
    rows = [(str(row.case), str(row.operation), f"{row.dice:.3f}") for row in ranked.itertuples()]
    return Section(
        "The labels to learn from",
        paragraphs=[
            f"{len(noisy)} labels were dilated or eroded by cubes of random side. Their mean Dice to the truth is "
            f"{noisy['dice'].mean():.3f} (from {noisy['dice'].min():.3f} to {noisy['dice'].max():.3f}).",
        ],
        tables=[Table(("case", "what was done", "Dice"), rows, "All noisy labels", folded=True)],
        pictures=[Picture(picture, "Noisy labels from the worst to the best, where they differ most from the truth.")],
    )


def _results(folder: DemoFolder, tables: Mapping[str, pd.DataFrame]) -> Section:
    first, last = folder.methods[0], folder.methods[-1]
    test = compare(folder.scores(last), folder.scores(first)).query("metric == 'dice' and label == 'overall'").iloc[0]
    side = "above" if test["difference"] >= 0 else "below"
    picture = folder.pictures / "boxplot.png"
    draw_boxplot(picture, tables, "mm")
    return Section(
        "Results",
        paragraphs=[
            f"The mean Dice of {last} is {abs(test['difference']):.3f} {side} that of {first} "
            f"(Wilcoxon signed-rank test over {test['n']} scans: p = {test['p_wilcoxon']:.3f})."
        ],
        tables=[
            Table(
                ("method", *METRICS.values(), "undefined"),
                [(method, *result_row(table)) for method, table in tables.items()],
                "Mean ± standard deviation over the test scans, against their true labels. "
                "Distances are undefined where nothing was predicted.",
            )
        ],
        pictures=[Picture(picture, "A point for each test scan; boxes show the quartiles.")],
    )


def result_row(table: pd.DataFrame) -> list[str]:
    """Mean and standard deviation of each metric as text, then the number of cases without distances."""
    overall = summarise(table)["overall"]
    cells = []
    for metric in METRICS:
        known = overall[metric]["mean"] is not None
        digits = 3 if metric in ("dice", "jaccard") else 1
        cells.append(f"{overall[metric]['mean']:.{digits}f} ± {overall[metric]['std']:.{digits}f}" if known else "-")
    return [*cells, str(overall["hd95"]["undefined"])]


def _test_scans(folder: DemoFolder, tables: Mapping[str, pd.DataFrame]) -> Section:
    """Test scans from the one where the last method falls behind (or gains least) to the one where it gains most."""
    first, last = folder.methods[0], folder.methods[-1]
    scores = pd.DataFrame({method: table.set_index("case")["dice"] for method, table in tables.items()})
    ranked = scores.loc[(scores[last] - scores[first]).sort_values(kind="stable").index]
    colours = {_TRUTH: _COLOURS[_TRUTH], **dict(zip(folder.methods, _COLOURS_OF_METHODS, strict=False))}
    rows = [_predicted(folder, str(case), ranked.loc[case]) for case in ranked.index[_spread(len(ranked), 3)]]
    picture = folder.pictures / "predictions.png"
    draw_overlays(picture, rows, colours)
    caption = f"The test scans where {last} gains least, as usual, and most, where predictions and truth differ most."
    return Section("Predictions", pictures=[Picture(picture, caption)])


def _predicted(folder: DemoFolder, case: str, scores: pd.Series[float]) -> list[View]:
    """The scan itself, and it with the prediction of each method."""
    image, truth, grid = _read(folder.data, "Ts", case)
    labels = {method: read_label(folder.predictions(method) / f"{case}.nii.gz")[0] for method in folder.methods}
    position = most_different_slice(truth, list(labels.values()), grid)
    views = [slice_of(case, image, {}, grid, position)]
    for method, label in labels.items():
        title = f"{method}, Dice {scores[method]:.3f}"
        views.append(slice_of(title, image, {_TRUTH: truth, method: label}, grid, position))
    return views


def _curves(folder: DemoFolder, method: str) -> Picture:
    picture = folder.pictures / f"curves_{method}.png"
    draw_curves(folder.run(method) / "log.csv", picture, title=method)
    return Picture(picture, f"Loss terms of {method}: as logged, and smoothed.")


def _files(folder: DemoFolder) -> Section:
    rows = [
        ("report.html", "this page"),
        ("results.csv", "all scores of all test scans"),
        ("summary.json", "settings and means, for programs"),
        ("pictures/", "the pictures of this page"),
        ("data/", "the phantoms with true labels"),
        ("noisy/", "the same with noisy labels; corruption.csv says what was done to each"),
        ("runs/METHOD/", "configuration, checkpoint, log and curves of each training"),
        ("predictions/METHOD/", "predicted labels of the test scans"),
        ("predictions/METHOD.csv", "their scores; METHOD_comparison.csv tests whether two methods differ"),
    ]
    return Section("Files", tables=[Table(("file", "what it holds"), rows, f"In {folder.root}", numbers=False)])


def _read(root: Path, part: str, case: str) -> Voxels:
    image, grid = read_image(root / f"images{part}" / f"{case}_0000.nii.gz")
    label, _ = read_label(root / f"labels{part}" / f"{case}.nii.gz")
    return image[0], label, grid


def _spread(length: int, count: int) -> list[int]:
    """Up to ``count`` different positions, evenly spaced from the first to the last."""
    return sorted(set(np.linspace(0, length - 1, count).round().astype(int).tolist()))
