from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from segmend.core.errors import InputError
from segmend.demo.page import Page, Picture, Section, Table, write_page

NASTY = "<script>alert('x')</script> & \"co\""
ALONE = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Reader(HTMLParser):
    """Elements that are open, all elements with their attributes, and the text; fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    return file


@pytest.fixture
def page(tmp_path, picture):
    """A page of everything, as text."""
    table = Table(("method", "Dice"), [("PLIL", "0.812 ± 0.034"), (NASTY, "-")], "mean of 10")
    folded = Table(("case", "what"), [("phantom_001", "eroded")], "every case", numbers=False, folded=True)
    write_page(
        tmp_path / "report.html",
        Page(
            title=f"Title {NASTY}",
            lead=f"Lead {NASTY}",
            figures=[("0.812", f"figure {NASTY}")],
            sections=[
                Section(f"Section {NASTY}", [f"Paragraph {NASTY}"], [f"segmend {NASTY}"], [table, folded]),
                Section("Pictures", pictures=[Picture(picture, f"Caption {NASTY}")] * 2),
                Section("Empty"),
            ],
            footer=f"Footer {NASTY}",
        ),
    )
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_everything_is_said_and_tags_match(page):
    reader = Reader(page)
    for words in ("0.812", "0.812 ± 0.034", "mean of 10", "every case", "phantom_001", "-"):
        assert words in reader.text
    assert len(reader.all("section")) == 3
    assert reader.all("table") == [{"class": "numbers"}, {}]
    assert len(reader.all("details")) == 1


def test_text_is_escaped_wherever_it_comes_from(page):
    reader = Reader(page)
    assert reader.all("script") == []
    assert "<script" not in page.lower()
    for place in ("Title", "Lead", "figure", "Section", "Paragraph", "segmend", "Caption", "Footer"):
        assert f"{place} {NASTY}" in reader.text
    assert NASTY in reader.text  # in the table
    assert [image["alt"] for image in reader.all("img")] == [f"Caption {NASTY}"] * 2


def test_pictures_are_in_the_page(page, picture):
    for image in Reader(page).all("img"):
        kind, content = image["src"].split(",")
        assert kind == "data:image/png;base64"
        assert b64decode(content, validate=True) == picture.read_bytes()


def test_nothing_is_fetched(page):
    reader = Reader(page)
    assert reader.all("link") == reader.all("iframe") == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", page))
    for _, attributes in reader.elements:
        assert set(attributes) <= {"lang", "charset", "name", "content", "class", "scope", "src", "alt"}


def test_it_is_made_for_phones_and_for_the_dark(page):
    names = {meta.get("name"): meta.get("content") for meta in Reader(page).all("meta")}
    assert names["viewport"] == "width=device-width, initial-scale=1"
    assert "prefers-color-scheme: dark" in page


def test_a_page_that_cannot_be_completed_leaves_the_old_one(tmp_path, picture):
    (tmp_path / "report.html").write_text("old")
    lost = Page("", "", [], [Section("", pictures=[Picture(tmp_path / "lost.png", "")])], "")
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "report.html", lost)
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "picture.png"}
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_place_that_cannot_be_written_is_explained(tmp_path, picture):
    with pytest.raises(InputError, match=r"picture\.png/report\.html: cannot be written"):
        write_page(picture / "report.html", Page("", "", [], [], ""))
