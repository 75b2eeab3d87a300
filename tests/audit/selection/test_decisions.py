from __future__ import annotations

from pathlib import Path

import pytest
from refusals import raises

from segmend.audit.selection.decisions import Decision, read_decisions


@pytest.fixture
def place(make_audit, label_row):
    return make_audit(label_row(case, label, 0.5, 0.9) for case in ("a", "b") for label in ("organ", "vessel"))


@pytest.fixture
def read(place, tmp_path):
    def look(text):
        path = tmp_path / "decisions.csv"
        path.write_text(text.replace("MARK", place.mark))
        return read_decisions(path, place.read_labels(), place)

    return look


def test_of_labels_regions_and_files(read, tmp_path):
    text = """case,label,decision,audit,region,reader,comment,time,file
a,organ,accept,MARK,,,,,
a,organ,reject,MARK,3,,,,
a,vessel,accept,MARK,2,,,,
b,,replace,MARK,,,,,new/b.nii.gz
"""
    replaced = Decision("replace", tmp_path / "new/b.nii.gz")
    assert read(text) == {
        ("a", "organ"): Decision("accept", kept=(3,)),  # a vessel with a decision on one region is still open
        ("b", "organ"): replaced,
        ("b", "vessel"): replaced,
    }


def test_unsure_is_not_final(read):
    found = read("case,label,decision\na,organ,unsure\nb,organ,Reject\n")
    assert {key: each.final for key, each in found.items()} == {("a", "organ"): False, ("b", "organ"): True}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("case,label\na,organ\n", "missing-value"),
        ("case,label,decision\na,organ,\n", "missing-value"),
        ("case,label,decision\na,organ,yes\n", "unknown-name"),
        ("case,label,decision\nz,organ,accept\n", "unknown-name"),
        ("case,label,decision\na,orgn,accept\n", "unknown-name"),
        ("case,label,decision,audit\na,organ,accept,other\n", "mismatch"),
        ("case,label,decision\na,organ,accept\na,organ,reject\n", "duplicate"),
        ("case,label,decision\na,,replace\n", "missing-value"),
        ("case,label,decision,region\na,organ,reject,1.5\n", "invalid-value"),
    ],
)
def test_refused(read, text, code):
    with raises(code):
        read(text)


def test_no_such_table(place):
    with raises("missing-file"):
        read_decisions(Path("nowhere.csv"), place.read_labels(), place)
