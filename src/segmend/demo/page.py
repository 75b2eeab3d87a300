"""A report as one self-contained HTML file: no network access, no other files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segmend.core.io import atomic_file
from segmend.core.rendering import template


@dataclass(frozen=True)
class Picture:
    """A PNG file to show.

    Attributes:
        file: it is copied into the page.
        caption: what it shows.
    """

    file: Path
    caption: str

    @property
    def content(self) -> str:
        """The file in base64."""
        return b64encode(self.file.read_bytes()).decode()


@dataclass(frozen=True)
class Table:
    """Text in rows.

    Attributes:
        columns: their headings.
        rows: as many cells each.
        caption: what the table shows.
        numbers: all columns but the first hold numbers, and are set to the right.
        folded: only the caption is seen until one asks for more.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    numbers: bool = True
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, then commands, tables and pictures.

    Attributes:
        title: its heading.
        paragraphs: plain text.
        commands: lines of a shell.
        tables: shown in turn.
        pictures: shown in turn.
    """

    title: str
    paragraphs: Sequence[str] = ()
    commands: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: its heading.
        lead: what it is about, in a sentence or two.
        figures: the numbers that matter most, each with a few words about it.
        sections: all the rest.
        footer: how it came about.
    """

    title: str
    lead: str
    figures: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    footer: str


def write_page(path: Path, page: Page) -> None:
    """Writes a report. All text is escaped: a case may be called ``<script>``.

    Raises:
        InputError: the file cannot be written.
    """
    text = template("segmend.demo", "page.html").render(page=page)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
