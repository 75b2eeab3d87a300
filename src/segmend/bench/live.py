"""Progress of the runs of a plan."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from segmend.bench.unit import State, Unit
from segmend.core.errors import printable
from segmend.core.progress import SECONDS_BETWEEN_LINES, console, say

_COLOURS: dict[State, str] = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red"}


class LiveTable:
    """A table that is kept up to date on a terminal; elsewhere, a line for every change and at intervals.

    Args:
        units: all runs of the plan.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self._told: dict[str, State] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, states: Mapping[str, State]) -> None:
        """Show the state of every unit, given by the name of its folder."""
        if self._live:
            self._live.update(self._table(states))
            return
        due = time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES
        for unit in self.units:
            state = states[unit.folder.name]
            changed = self._told.get(unit.folder.name, "waiting") != state
            if changed or (due and state == "running"):
                self._told[unit.folder.name] = state
                self._last_line = time.monotonic()
                done = sum(each == "done" for each in states.values())
                say(f"[{done}/{len(states)} done] {_name(unit)}: {_progress(unit, state)}")

    def _table(self, states: Mapping[str, State]) -> Table:
        table = Table("row", "labels", "seed", "state", box=None, pad_edge=False)
        for unit in self.units:
            state = states[unit.folder.name]
            cells = unit.row, unit.labels, str(unit.seed), _progress(unit, state)
            table.add_row(*[Text(printable(cell)) for cell in cells], style=_COLOURS[state])
        return table


def _name(unit: Unit) -> str:
    return f"{unit.row}, {unit.labels}, seed {unit.seed}"


def _progress(unit: Unit, state: State) -> str:
    if state != "running":
        return state
    total = unit.what["train"].get("iterations")
    if not unit.steps:
        return "preparing"
    return "predicting" if unit.steps == total else f"step {unit.steps}" + (f" of {total}" if total else "")
