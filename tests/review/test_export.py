from __future__ import annotations

import csv
import shlex

import pytest
from refusals import raises

from segmend.data.tables import read_table
from segmend.review.decisions import Decision, Subject
from segmend.review.export import COLUMNS


@pytest.fixture
def review(make_review_audit):
    return make_review_audit("a", "b", "NA").review()


def decide(review, decision, *, reader="Anna", case="a", label="organ", region=None, comment="", file=""):
    review.store.decide(Decision(Subject(case, label, region), reader, decision, comment, file=file))


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_of_all_readers(review):
    decide(review, "accept", case="b", comment='so, "gut"\nja')
    decide(review, "reject", label="lesion")
    decide(review, "accept", region=2)
    decide(review, "reject", region=2, reader="Ben")
    written = review.write_tables()
    rows = table(written.file)
    assert written.file == review.place.root / "decisions.csv"
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["case"], row["label"], row["region"], row["decision"]) for row in rows] == [
        ("a", "organ", "2", "unsure"),
        ("a", "lesion", "", "reject"),
        ("b", "organ", "", "accept"),
    ]
    assert {row["audit"] for row in rows} == {review.findings.mark}
    assert rows[0]["comment"] == "Anna accept, Ben reject"
    assert rows[0]["reader"] == "Anna; Ben"
    assert rows[2]["comment"] == 'so, "gut" ja'
    assert (written.counts, written.disagreed) == ({"unsure": 1, "reject": 1, "accept": 1}, 1)


def test_it_is_read_as_any_table_of_decisions(review):
    decide(review, "accept", case="NA", comment="x;y\tz")
    rows = read_table(review.write_tables().file, COLUMNS).rows
    assert [(row.cells["case"], row.cells["decision"]) for row in rows] == [("NA", "accept")]


def test_a_table_of_each_reader(review):
    decide(review, "accept", reader="An/na %")
    decide(review, "reject", reader="Ben")
    review.write_tables()
    folder = review.place.root / "review"
    assert sorted(path.name for path in folder.iterdir()) == ["decisions_An%2Fna %25.csv", "decisions_Ben.csv"]
    assert [row["decision"] for row in table(folder / "decisions_Ben.csv")] == ["reject"]


def test_a_new_label_file(review):
    decide(review, "accept")
    decide(review, "replace", label="", file="review/labels/a.nii.gz")
    for path in (review.write_tables().file, review.place.root / "review" / "decisions_Anna.csv"):
        (row,) = table(path)
        assert (row["case"], row["label"], row["decision"]) == ("a", "", "replace")
        assert row["file"] == "review/labels/a.nii.gz"


def test_taken_back_decisions_are_left_out(review):
    decide(review, "accept")
    decide(review, "reject", label="lesion")
    review.store.take_back("Anna")
    decide(review, "", comment="only a comment", case="b")
    assert [row["label"] for row in table(review.write_tables().file)] == ["organ"]


def test_without_decisions_the_table_has_a_header_only(review):
    assert review.write_tables().file.read_text().strip() == ",".join(COLUMNS)


def test_the_numbers_in_words(review):
    decide(review, "accept")
    decide(review, "replace", label="", case="b", file="f")
    assert review.write_tables().in_words == "1 accepted, 0 rejected, 0 unsure, 1 replaced"


def test_the_next_line_can_be_pasted(review):
    words = shlex.split(review.next_line)
    assert words[:2] == ["segmend", "correct"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given["--data"] == str(review.folder.root)
    assert given["--audit"] == str(review.place.root)
    assert given["--decisions"] == str(review.place.root / "decisions.csv")


def test_a_table_that_cannot_be_written(review):
    (review.place.root / "decisions.csv").mkdir()
    decide(review, "accept")
    with raises("not-writable"):
        review.write_tables()
