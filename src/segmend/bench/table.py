"""The table of a plan in all its forms: CSV, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from segmend.bench.known import RESULTS
from segmend.bench.plan import Plan, Row
from segmend.bench.published import published_value
from segmend.bench.statistics import lower_is_better, summarise
from segmend.bench.unit import State, Unit, is_summary
from segmend.core.errors import InputError, printable
from segmend.core.io import atomic_file
from segmend.core.tables import write_table
from segmend.metrics.results import DISTANCES

_MEANS, _PUBLISHED = ("mean", "sd_cases"), ("published", "published_sd")
NAMES = {"dice": "Dice %", "jaccard": "Jaccard %", "nsd": "NSD %", "hd95": "95HD", "asd": "ASD", "assd": "ASSD"}
"""Metrics as tables show them."""
PERCENT = ("dice", "jaccard", "nsd")
"""Metrics that are shown in per cent."""
_ROWS_TO_RANK = 4
"""Number of rows below which an order is not meaningful."""
_TEX = {letter: f"\\{letter}" for letter in "%&_#${}"}
_TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SIGNIFICANT = 0.05
"""P values below get a mark."""


@dataclass(frozen=True)
class Table:
    """Measured results, next to the published ones.

    Attributes:
        plan: the plan.
        results: one row per run, test case and label.
        summary: one row per state of the labels, table row and metric; see ``summarise``, with the additional columns
            ``labels``, ``published`` and ``published_sd``.
        states: state of every unit by row, labels and seed.
        notes: lines below the table.
    """

    plan: Plan
    results: pd.DataFrame
    summary: pd.DataFrame
    states: Mapping[tuple[str, str, int], State]
    notes: Sequence[str]

    @classmethod
    def of(cls, plan: Plan, units: Sequence[Unit], states: Mapping[str, State]) -> Table:
        """The table of all units that are done; those of another code, data or noise are in other folders."""
        done = [unit for unit in units if unit.done]
        results = pd.concat([_results(unit) for unit in done], ignore_index=True) if done else pd.DataFrame()
        by_key = {(unit.row, unit.labels, unit.seed): states[unit.folder.name] for unit in units}
        summary = _summary(plan, results)
        return cls(plan, results, summary, by_key, [*_notes(plan, done), *_agreement(plan, summary)])

    def write(self, out: Path) -> None:
        """Write results.csv, table.csv, table.md and table.tex."""
        for name, frame in ((RESULTS, self.results), ("table.csv", self.summary)):
            write_table(out / name, frame)
        with atomic_file(out / "table.md") as file:
            file.write_text(self.markdown(), encoding="utf-8")
        with atomic_file(out / "table.tex") as file:
            file.write_text(self.latex(), encoding="utf-8")

    def markdown(self) -> str:
        """Measured mean (sd over cases) ± sd over seeds, published value after it."""
        metrics = self.plan.metrics
        unit = self.plan.evaluate.get("unit", "mm")
        heads = [NAMES.get(metric, metric) + (f" ({unit})" if metric in DISTANCES else "") for metric in metrics]
        lines = [f"# {printable(self.plan.title)}", ""]
        for labels in self.plan.labels:
            rows = [row for row in self.plan.rows.values() if labels in row.labels]
            if rows:
                lines += [
                    f"## {_cell(labels)}",
                    "",
                    f"| row | {' | '.join(heads)} | seeds |",
                    "|---|" + "---|" * (len(heads) + 1),
                ]
                lines += [f"| {_cell(row.name)} | {' | '.join(self._cells(labels, row.name))} |" for row in rows]
                lines += [""]
        return "\n".join([*lines, *[f"- {printable(note)}" for note in self.notes], ""])

    def latex(self) -> str:
        """A tabular of the same numbers, measured and published in separate columns."""
        heads = [f"{NAMES.get(metric, metric)}" for metric in self.plan.metrics]
        lines = [rf"\begin{{tabular}}{{l{'rr' * len(heads)}}}", r"\hline"]
        lines += [" & ".join(["", *[rf"\multicolumn{{2}}{{c}}{{{_tex(head)}}}" for head in heads]]) + r" \\"]
        lines += [" & ".join(["", *["measured & published"] * len(heads)]) + r" \\"]
        for labels in self.plan.labels:
            rows = [row for row in self.plan.rows.values() if labels in row.labels]
            if rows:
                lines += [r"\hline", rf"\multicolumn{{{1 + 2 * len(heads)}}}{{l}}{{{_tex(labels)}}} \\"]
            for row in rows:
                cells = [_tex(row.name)]
                for metric in self.plan.metrics:
                    line = self.line(labels, row.name, metric)
                    cells += [
                        _number(line, *_MEANS, metric),
                        _number(line, *_PUBLISHED, metric),
                    ]
                lines += [" & ".join(cells) + r" \\"]
        return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])

    def line(self, labels: str, row: str, metric: str) -> pd.Series[float]:
        """One line of the summary; NaN throughout if there is none."""
        found = self.summary[
            (self.summary["labels"] == labels) & (self.summary["row"] == row) & (self.summary["metric"] == metric)
        ]
        return found.iloc[0]

    def _cells(self, labels: str, row: str) -> list[str]:
        cells = []
        for metric in self.plan.metrics:
            line = self.line(labels, row, metric)
            text = _number(line, *_MEANS, metric) + self._marks(line) + _over_seeds(line, metric)
            if line["undefined"] > 0:
                text += f" [{int(line['undefined'])} undefined]"
            published = _number(line, *_PUBLISHED, metric)
            cells.append(" ".join(part for part in (text, f"*{published}*" if published else "") if part))
        return [*cells, self._progress(labels, row)]

    def _marks(self, line: pd.Series[float]) -> str:
        """Marks for the results of the tests; the baseline need not have been run on every state of the labels."""
        marks = "\\*" if line["p_second"] < SIGNIFICANT else ""
        if line["p_baseline"] < SIGNIFICANT:
            metric = str(line["metric"])
            baseline = self.line(str(line["labels"]), self.plan.baseline, metric)
            worse = lower_is_better(metric) == (line["mean"] > baseline["mean"])
            marks = ("\u2021" if worse else "\u2020") + marks
        return marks

    def _progress(self, labels: str, row: str) -> str:
        if not self.plan.rows[row].method:
            return "published only"
        states = [self.states[row, labels, seed] for seed in self.plan.seeds]
        done = states.count("done")
        if done == len(states):
            return str(done)
        return f"{done} of {len(states)}" + (f", {states.count('failed')} failed" if "failed" in states else "")


def _results(unit: Unit) -> pd.DataFrame:
    scores = unit.scores
    scores.insert(0, "fingerprint", unit.what["fingerprint"])
    for name, value in (("seed", unit.seed), ("labels", unit.labels), ("row", unit.row)):
        scores.insert(0, name, value)
    return scores


def _summary(plan: Plan, results: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for labels in plan.labels.values():
        rows = [row.name for row in plan.rows.values() if labels.name in row.labels]
        every = pd.DataFrame([(labels.name, row, metric) for metric in plan.metrics for row in rows])
        if not len(every):
            continue
        every.columns = pd.Index(["labels", "row", "metric"])
        measured = pd.DataFrame(columns=["row", "metric", *_MEASURED], dtype=float)
        if len(results) and (results["labels"] == labels.name).any():
            measured = summarise(results[results["labels"] == labels.name], plan.metrics, rows, plan.baseline)
        part = every.merge(measured, on=["row", "metric"], how="left")
        numbers = [
            _published(plan, labels.published, plan.rows[row], metric)
            for row, metric in zip(part["row"], part["metric"], strict=True)
        ]
        part["published"], part["published_sd"] = zip(*numbers, strict=True)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


_MEASURED = (
    *("mean", "sd_cases", "sd_seeds", "seeds", "cases", "low", "high"),
    *("undefined", "missed", "p_baseline", "p_second"),
)


def _published(plan: Plan, settings: tuple[str, ...], row: Row, metric: str) -> tuple[float, float]:
    """In the unit of the measured values: fractions, not per cent."""
    name = plan.published.get("metrics", {}).get(metric)
    if not name:
        return float("nan"), float("nan")
    value, sd = published_value(plan.published["paper"], plan.published["table"], settings, row.published, name)
    scale = 0.01 if metric in PERCENT else 1.0
    return scale * value, scale * sd


def _notes(plan: Plan, done: Sequence[Unit]) -> list[str]:
    checkpoint = {
        "last": "the last checkpoint",
        "best": "the best checkpoint on the validation split",
        "test": "the checkpoint that was best ON THE TEST CASES, as in the public code of some papers",
    }
    notes = [
        f"Mean (sd over cases){' ± sd over seeds' if len(plan.seeds) > 1 else ''}; *published value* in italics. "
        "Means exclude undefined distances; their number is in brackets.",
        f"Tests: paired Wilcoxon over cases, Holm-corrected, p < {SIGNIFICANT}: \u2020 better and \u2021 worse "
        f"than {plan.baseline}, * the best row against the second best.",
        f"Scored: {checkpoint[plan.select]}. {len(done)} runs.",
    ]
    if done:
        results = [unit.result for unit in done]
        for unit in done:
            if not is_summary(unit.result):
                remedy = "delete it, and run the same command again"
                raise InputError(unit.folder / "result.json", "is damaged (it lacks values)", remedy, code="damaged")
        devices = sorted({str(result["device"]) for result in results})
        hours = sum(float(result["seconds"]) for result in results) / 3600
        versions = sorted({f"torch {result['versions']['torch']}" for result in results})
        notes.append(f"Training: {hours:.2f} h on {', '.join(devices)} ({', '.join(versions)}).")
    notes.append(
        f"To repeat a row: `segmend bench --plan {plan.path.stem} --data DATA --out OUT --only ROW`; "
        "runs.json holds the fingerprint of every run."
    )
    return notes


def _agreement(plan: Plan, summary: pd.DataFrame) -> list[str]:
    """How closely the order of the rows agrees with the published one, by the first metric."""
    both = summary[summary["metric"] == plan.metrics[0]].dropna(subset=["mean", "published"])
    name = NAMES.get(plan.metrics[0], plan.metrics[0])
    notes = []
    for labels, rows in both.groupby("labels", sort=False):
        if len(rows) >= _ROWS_TO_RANK:
            rho = spearmanr(rows["mean"], rows["published"]).statistic
            what = f"rank correlation (Spearman) of measured and published {name} over {len(rows)} rows"
            notes.append(f"{labels}: {what}: {rho:.2f}.")
    return notes


def _number(line: pd.Series[float], value: str, spread: str, metric: str) -> str:
    if pd.isna(line[value]):
        return ""
    scale = 100 if metric in PERCENT else 1
    sd = "" if pd.isna(line[spread]) else f" ({scale * line[spread]:.2f})"
    return f"{scale * line[value]:.2f}{sd}"


def _over_seeds(line: pd.Series[float], metric: str) -> str:
    return "" if pd.isna(line["sd_seeds"]) else f" ± {(100 if metric in PERCENT else 1) * line['sd_seeds']:.2f}"


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in printable(text))


def _cell(text: str) -> str:
    """Escape a name for the table: a bar or a line break in it would create other cells."""
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
