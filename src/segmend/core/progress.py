"""Progress display: a bar on a terminal, a logged line at intervals anywhere else; and remarks, which are logged."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from segmend.core.errors import printable

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15.0
"""How often a line is logged where there is no terminal."""


class _Console(Console):
    """Reports progress; a closed output does not end the work."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints, with control characters of names as escapes."""
        super().print(*[printable(each, keep="\n\t") if isinstance(each, str) else each for each in objects], **options)

    def on_broken_pipe(self) -> None:
        """Become silent."""
        self.quiet = True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)


console = _Console(stderr=True, highlight=False)


LOGGER = logging.getLogger("segmend")
"""What Segmend says while it works; ``segmend.core.logs`` shows it on the command line."""


def say(text: str) -> None:
    """Log a remark for human readers, at level INFO."""
    LOGGER.info("%s", text)


def warn(text: str) -> None:
    """Log a warning for human readers: the work goes on, but is likely not what they want."""
    LOGGER.warning("%s", text)


class Reporter:
    """Shows the progress of a long task; use it as a context manager.

    Args:
        description: what is being done, in two or three words.
        total: number of items, if known.
        done: items that were finished before, in a resumed run.
    """

    def __init__(self, description: str, total: int | None, done: int = 0) -> None:
        self.description, self.total, self.done, self.note = description, total, done, ""
        self._reported, self._before, self._start, self._last_line = done, done, time.monotonic(), -float("inf")
        self._bar = _bar() if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._bar:
            self._task = self._bar.add_task(self.description, total=self.total, completed=self.done, note="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()
        elif error[0] is None and self.done > self._reported:
            self._print_line()

    def advance(self, note: str = "") -> None:
        """Count one more finished item; ``note`` is shown after it."""
        self.done, self.note = self.done + 1, printable(note)
        if self._bar:
            self._bar.update(self._task, completed=self.done, note=self.note)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._print_line()

    def _print_line(self) -> None:
        self._reported, self._last_line = self.done, time.monotonic()
        fresh, elapsed = self.done - self._before, self._last_line - self._start
        progress = f"{self.done}/{self.total}" if self.total is not None else str(self.done)
        remaining = ""
        if self.total is not None and self.done < self.total and fresh > 1:  # the first item says little about others
            remaining = f", {_duration(elapsed / fresh * (self.total - self.done))} left"
        say(f"{self.description} {progress} {_duration(elapsed)}{remaining} {self.note}".rstrip())


def _duration(seconds: float) -> str:
    """Seconds in words: '45 s', '12 min', '3.5 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def track(items: Iterable[Item], description: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
    """Yield the items and show how many are done.

    Args:
        items: anything to go through.
        description: what is being done, in two or three words.
        total: number of items, if ``len(items)`` is not available.
        done: items that were finished before, and are counted too.
    """
    count = total if total is not None else len(items) + done if isinstance(items, Sized) else None
    with Reporter(description, count, done) as reporter:
        for item in items:
            yield item
            reporter.advance()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )
