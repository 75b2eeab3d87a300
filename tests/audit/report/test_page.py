from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from audit_rows import example_row
from PIL import Image

from segmend.audit.annotators import AnnotatorRow
from segmend.audit.checks import Finding
from segmend.audit.report.close_up import BUDGET
from segmend.audit.report.page import write_audit_report
from segmend.core.errors import InputError
from segmend.data.folder import DataFolder

ALONE = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HOSTILE = "<img src=x onerror=alert(1)>"
BREAKING = "</script><script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Elements, the text of each script and style, all other text; fails where tags do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inner: list[tuple[dict[str, str | None], str]] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ALONE and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.inner.append((self.elements[-1][1], data))
        elif data.strip():
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def data(self, name: str) -> dict:
        (content,) = [text for attributes, text in self.inner if attributes.get("id") == name]
        return json.loads(content)

    def pictured(self) -> list[int]:
        names = [attributes.get("id") or "" for attributes, _ in self.inner]
        return [int(name.removeprefix("close-up-")) for name in names if name.startswith("close-up-")]


def report(made, **options) -> Reader:
    return Reader(write_audit_report(made.audit, made.folder, **options))


def test_all_labels_are_there_the_most_suspect_first(make_audit):
    made = make_audit(["a", "b", "c"], ["organ", "vessel"])
    table = made.place.labels.read_text().splitlines()
    made.place.labels.write_text("\n".join([table[0], *reversed(table[1:])]) + "\n")
    page = report(made)
    rows = page.data("audit")["rows"]
    assert [(row["rank"], row["case"], row["label"]) for row in rows] == [
        (1, "a", "organ"),
        (2, "a", "vessel"),
        (3, "b", "organ"),
        (4, "b", "vessel"),
        (5, "c", "organ"),
        (6, "c", "vessel"),
    ]
    assert page.pictured() == [0, 1, 2, 3, 4, 5]
    assert rows[0]["score"] == 0.1
    assert rows[0]["proposal_score"] == 0.8
    assert rows[-1]["proposal_score"] is None
    lead = "made up: 50 % of 6 labels (25 to 75 %) are expected to have a Dice below 0.8. Suspect: 3."
    assert lead in page.text


def test_pictures_show_the_worst_region(make_audit):
    made = make_audit(["a"], ["organ", "vessel"])
    first, second = (report(made).data(f"close-up-{number}") for number in (0, 1))
    for shown, value in ((first, 1), (second, 2)):
        # x and y run as in the file, z the other way round.
        assert shown["shape"] == [24, 20, 10]
        assert shown["at"] == [6, 6 * value - 3, 2]
        (region,) = [
            region for region in shown["regions"] if region["text"].startswith("180 voxels, 4.2 mm thick, 91 %")
        ]
        assert region["kind"] == "slices"
        assert region["at"] == [12, pytest.approx(6 * value - 0.5, abs=0.6), 3]


def test_only_the_most_suspect_are_pictured(make_audit):
    made = make_audit(["a", "b", "c"])
    page = report(made, pictures=2)
    assert page.pictured() == [0, 1]
    assert len(page.data("audit")["rows"]) == 3
    assert any("Only the 2 most suspect labels have pictures" in text for text in page.text)
    assert report(made, pictures=0).pictured() == []


def test_pictures_keep_to_their_budget(make_audit):
    made = make_audit(["a"])
    rng = np.random.default_rng(0)
    shape = (90, 90, 80)
    for path in (*made.folder.cases[0].images, made.folder.cases[0].label, *made.audit.rglob("a.nii.gz")):
        made.save(path, rng.integers(0, 2, shape).astype(np.uint8) * (200 if "0000" in path.name else 1))
    page = report(made)
    (size,) = [len(text) for attributes, text in page.inner if attributes.get("id") == "close-up-0"]
    assert size <= BUDGET + 1000  # for the list of regions


def test_names_are_escaped_wherever_they_come_from(make_audit):
    made = make_audit([HOSTILE], [BREAKING], name=BREAKING)
    bias = AnnotatorRow(BREAKING, HOSTILE, 3, 1.1, 0.5, 0.1, 0.3, 0.9, math.nan, math.nan, 0, HOSTILE)
    row = example_row(1, HOSTILE, BREAKING, 0.2, annotator=BREAKING)
    made.write_tables(
        [row], [made.region(HOSTILE, BREAKING)], [bias], [Finding(HOSTILE, BREAKING, "hole", 3, BREAKING)]
    )
    page = report(made)
    assert "<img" not in page.source
    assert "onerror=alert(1)>" not in page.source
    assert page.source.lower().count("<script") == page.source.lower().count("</script") == 3
    assert page.all("img") == []
    data = page.data("audit")
    assert (data["rows"][0]["case"], data["rows"][0]["label"]) == (HOSTILE, BREAKING)
    assert data["rows"][0]["annotator"] == BREAKING
    assert data["findings"] == {HOSTILE: [f"hole of {BREAKING}: {BREAKING}"]}
    assert page.text.count(BREAKING) == 1  # the annotator
    assert page.text.count(HOSTILE) == 2  # its label and verdict
    assert f"Label audit: {BREAKING}" in page.text
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_nothing_is_fetched_and_only_our_script_runs(make_audit):
    page = report(make_audit(["a"]))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|import\(|fetch\(|XMLHttp|WebSocket", page.source)
    for tag in ("link", "iframe", "img", "object", "base"):
        assert page.all(tag) == []
    for _, attributes in page.elements:
        assert {"src", "href", "style", "srcset", "action"}.isdisjoint(attributes)
    ((_, style), *_), scripts = page.inner, [text for attributes, text in page.inner if attributes == {}]
    assert len(page.all("style")) == 1
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind, text in (("style", style), ("script", scripts[-1])):
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy


def test_thousands_of_labels_are_one_small_page(make_audit):
    made = make_audit(["a"])
    made.write_tables([example_row(rank, f"case_{rank:05d}", "organ", rank / 5000) for rank in range(1, 5001)])
    page = report(made, pictures=0)
    assert len(page.data("audit")["rows"]) == 5000
    assert len(page.source) < 2_500_000
    assert len(page.elements) < 300


def test_the_histogram_counts_the_expected_dice_of_every_label(make_audit):
    made = make_audit(["a"])
    expected = [0.0, 0.04, 0.06, 0.81, 1.0]
    rows = [example_row(rank, "a", "organ", 0.5, expected_dice=dice) for rank, dice in enumerate(expected, start=1)]
    made.write_tables(rows)
    page = report(made, pictures=0)
    bars = page.all("rect")
    assert len(bars) == 20
    assert [bar["class"] for bar in bars] == ["suspect"] * 16 + ["fine"] * 4
    assert [number for number, bar in enumerate(bars) if float(bar["height"])] == [0, 1, 16, 19]
    assert "2 from 0.00 to 0.05" in page.text
    assert "With the true label; below 0.8 a label is suspect." in page.text


def test_what_is_wrong_is_counted(make_audit):
    page = report(make_audit(["a", "b", "c"]), pictures=0)
    assert [cell["data-kind"] for cell in page.all("td") if "data-kind" in cell] == ["ok", "slices"]


def test_annotators_have_a_table_if_there_are_any(make_audit):
    made = make_audit(["a"])
    assert "Annotators" not in report(made).text
    row = example_row(1, "a", "organ", 0.2)
    made.write_tables(
        [row],
        biases=[
            AnnotatorRow("Dr. 007", "organ", 12, 1.234567, 0.987654, 1.5e-05, 0.5, 0.9, math.nan, math.nan, 0, "wide")
        ],
    )
    text = report(made).text
    assert "Annotators" in text
    assert "sensitivity" not in text  # no label has one
    start = text.index("Dr. 007")
    assert text[start : start + 9] == ["Dr. 007", "organ", "12", "1.23", "0.988", "1.5e-05", "0.5", "0.9", "wide"]


def test_names_that_look_like_numbers_or_nothing_stay(make_audit):
    made = make_audit(["007", "NA"])
    assert [row["case"] for row in report(made).data("audit")["rows"]] == ["007", "NA"]


def test_another_audit_has_another_key(make_audit):
    made = make_audit(["a"])
    key = report(made).data("audit")["key"]
    assert report(made).data("audit")["key"] == key
    made.write_tables([example_row(1, "a", "organ", 0.3)])
    assert report(made).data("audit")["key"] != key


def test_remarks_stand_above_all(make_audit):
    made = make_audit(["a"])
    remarks = ["Of <b> & 'c' it knows little.", "Most are off."]
    made.write_tables([example_row(1, "a", "organ", 0.6)], remarks=remarks)
    page = report(made, pictures=0)
    assert [text for text in page.text if text in remarks] == remarks
    assert len(page.all("b")) == 1  # of what to do
    assert any(text.startswith("Read this first: 2 remarks") for text in page.text)


def test_what_to_do_stands_first_with_a_line_to_copy(make_audit):
    made = make_audit(["a"], name="it's")
    page = report(made, pictures=0)
    (line,) = [text for text in page.text if text.startswith("segmend correct --data")]
    assert shlex.split(line)[2:6] == ["--data", str(made.root / "data"), "--audit", str(made.audit)]
    assert page.text.index(line) < page.text.index("Expected Dice of the labels")


def test_reliability_is_drawn(make_audit):
    page = report(make_audit(["a"], ["organ", "vessel"]), pictures=0)
    points = page.all("circle")
    assert len(points) == 4
    assert (points[0]["cx"], points[0]["cy"]) == ("127.0", "36.0")
    assert any("Dice to expert labels: mean difference 0.10 over 4." in text for text in page.text)


def test_what_changed_since_an_earlier_round_is_told(make_audit):
    made = make_audit(["a"])
    summary = json.loads(made.place.summary.read_text())
    counts = {"changed": 1, "confirmed": 0, "new": 0, "gone": 0}
    summary["since"] = {**counts, "expected_dice_of_changed": [0.5, 0.9], "suspect": [2, 1]}
    made.place.summary.write_text(json.dumps(summary))
    assert any(text.startswith("Since the earlier round: 1 changed;") for text in report(made, pictures=0).text)


def test_pictures_of_microscopes_have_no_millimetres(make_audit, tmp_path):
    made = make_audit(["a"])
    for path in sorted(tmp_path.rglob("*.nii.gz")):
        path.unlink()
        plane = np.zeros((30, 20), np.uint8)
        plane[5:15, 5:10] = 1
        Image.fromarray(plane).save(path.with_name(path.name.replace(".nii.gz", ".png")))
    description = tmp_path / "data" / "dataset.json"
    description.write_text(description.read_text().replace(".nii.gz", ".png"))
    page = Reader(write_audit_report(made.audit, DataFolder.open(tmp_path / "data")))
    assert page.data("audit")["unit"] == "pixels"
    shown = page.data("close-up-0")
    assert shown["planar"]
    assert shown["shape"] == [20, 30, 1]


def test_an_audit_of_something_else_or_half_an_audit_is_told(make_audit):
    made = make_audit(["a"])
    before = report(made).source
    made.write_tables([example_row(1, "a", "orgen", 0.2)])
    with pytest.raises(InputError, match=r"'orgen'. Did you mean organ"):
        report(made)
    made.place.regions.unlink()
    with pytest.raises(InputError, match=r"regions.csv: does not exist. Give the folder that 'segmend audit' writes"):
        report(made)
    made.place.labels.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"audit.csv: cannot be read"):
        report(made)
    assert (made.audit / "report.html").read_text(encoding="utf-8") == before
