"""Servers of 'segmend review' that tests may kill, and readers who use its page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reviews import SmallAudit

PATIENCE_MS = 60_000


@dataclass
class Server:
    """'segmend review' in a process of its own."""

    audit: SmallAudit
    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    address: str = ""

    def start(self) -> Server:
        words = [sys.executable, "-m", "segmend", "review", "--audit", str(self.audit.place.root), "--open", "false"]
        self.process = subprocess.Popen(
            [*words, *self.options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
        )
        seen = ""
        for line in self.process.stdout:
            seen += line
            if found := re.search(r"http://\S+token=\S+", line):
                self.address = found[0]
                return self
        raise AssertionError(seen)

    def kill(self, kind: signal.Signals = signal.SIGKILL) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(kind)
            self.process.wait(60)
            self.process.stdout.close()


@dataclass
class Visitor:
    """A page of a reader, with what went wrong in it."""

    page: Any
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: message.type == "error" and self.wrong.append(message.text))

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def ask(self, script: str) -> object:
        return self.page.evaluate(script)


def enter(visitor: Visitor, name: str) -> None:
    """Say who reads, and wait for the first picture."""
    visitor.page.wait_for_selector("#reader[open]")
    visitor.page.fill("#reader-name", name)
    visitor.press("Enter")
    visitor.page.wait_for_selector("#place:not(:empty)")


@contextmanager
def expected(visitor: Visitor, *words: str) -> Iterator[None]:
    """Allows errors in the console with some of these words."""
    yield
    visitor.wrong[:] = [text for text in visitor.wrong if not any(word in text for word in words)]
