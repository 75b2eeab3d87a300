"""segmend bench."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from segmend.bench.executors import Executor, LocalExecutor, RayExecutor
from segmend.bench.known import RUNS, Known
from segmend.bench.live import LiveTable
from segmend.bench.pictures import draw_boxplots, draw_table
from segmend.bench.plan import Plan
from segmend.bench.preparation import Preparation
from segmend.bench.table import Table
from segmend.bench.unit import State, Unit
from segmend.core import signals as stopping
from segmend.core.errors import InputError, did_you_mean, printable
from segmend.core.io import remove_leftovers
from segmend.core.progress import say
from segmend.core.tables import write_json
from segmend.core.values import names_among

_TAIL_LINES = 15


def bench(
    *,
    plan: str,
    data: Path,
    out: Path,
    only: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    known: Sequence[Path] | None = None,
    executor: Literal["local", "ray"] = "local",
    jobs: int | None = None,
    address: str | None = None,
    minutes: float = math.inf,
) -> Table:
    """Reproduce a paper's table: train every row with every seed, and show measured next to published numbers.

    Each run is a separate process. Called again, finished runs are not repeated and interrupted ones continue; a run
    that fails is shown with the end of its log and leaves the others alone. Results belong to the fingerprint of the
    data, splits, noise, arguments, seed and protocol versions that made them; others are not shown with them.

    Writes results.csv (one row per run, test case and class), table.md, table.csv and table.tex, table.png (measured
    against published), a box plot for each state of the labels, and runs.json (the specification of every run).

    Args:
        plan: the name of a plan that comes with Segmend (plil_table1_small, ...), or a YAML file.
        data: the data folder that the plan is about.
        out: the folder to write; also where the runs lie.
        only: names of the rows to run; the table shows the others if they are done.
        labels: names of the states of the labels to run; the others are shown in the same way.
        known: folders with results.csv and runs.json of this command, from other machines or days: what they hold
            of runs of the same fingerprint is not run again.
        executor: processes on this machine, or a Ray cluster that shares the file system.
        jobs: runs at a time on this machine; by default one for each GPU, or one for each core of a CPU as far as
            memory reaches.
        address: of the Ray cluster.
        minutes: stop after so long, to be continued by the same command.

    Returns:
        The table.

    Raises:
        InputError: the plan or the data cannot be used, or a run failed.

    Example:
        segmend bench --plan plil_table1_small --data left_atrium --out table1
    """
    deadline = time.monotonic() + 60 * minutes
    chosen = Plan.read(plan)
    only = _known_names("only", only or (), chosen.rows)
    labels = _known_names("labels", labels or (), chosen.labels) or None
    runner: Executor = LocalExecutor(jobs) if executor == "local" else RayExecutor(address)
    preparation = Preparation(chosen, data, out)
    preparation.check()
    elsewhere = [Known.read(folder) for folder in known or ()]
    remove_leftovers(out)
    units = preparation.units(labels)
    for results in elsewhere:
        say(f"{results.take_over(units)} runs taken over from {results.root}")
    wanted = [unit for unit in units if unit.row in (only or chosen.rows) and unit.labels in (labels or chosen.labels)]
    for unit in wanted:
        if not unit.done:
            unit.write()
    stopping.promise("continue")
    with LiveTable(wanted) as live:
        states = runner.run(wanted, live.show, deadline)
    every: dict[str, State] = {unit.folder.name: "done" if unit.done else "waiting" for unit in units}
    table = Table.of(chosen, units, every | states)
    _write(out, table, units)
    print(printable(table.markdown(), keep="\n"))
    _complain_of_failures(wanted, states)
    return table


def _write(out: Path, table: Table, units: Sequence[Unit]) -> None:
    table.write(out)
    runs = [_recorded(unit) for unit in units if unit.done]
    write_json(out / RUNS, runs)
    if runs:
        draw_table(out / "table.png", table)
        draw_boxplots(out, table)


def _recorded(unit: Unit) -> dict[str, object]:
    """A finished run in runs.json. Its commit is informative only and does not decide whether the result is reused."""
    summary = unit.result
    commit = summary.pop("commit", "")
    named = {"row": unit.row, "labels": unit.labels, "seed": unit.seed}
    return {**named, "commit": commit, "what": unit.what, "summary": summary}


def _known_names(option: str, given: Sequence[str], known: Mapping[str, object]) -> list[str]:
    names = names_among(given, known.keys())
    for name in names:
        if name not in known:
            raise InputError(option, f"the plan has no '{name}'", did_you_mean(name, known), code="unknown-name")
    return names


def _complain_of_failures(units: Sequence[Unit], states: Mapping[str, State]) -> None:
    failed = [unit for unit in units if states[unit.folder.name] == "failed"]
    for unit in failed:
        say(f"{unit.row}, {unit.labels}, seed {unit.seed}: the end of {unit.log}")
        lines = unit.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        say("\n".join(lines))
    if failed:
        problem = "failed" + (f", as did {len(failed) - 1} more" if failed[1:] else "")
        raise InputError(
            failed[0].folder, problem, "see the end of its log above; then run the same again", code="unfinished"
        )
