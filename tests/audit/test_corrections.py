from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.corrections import (
    FILE,
    Correction,
    apply_changes,
    box_text,
    read_corrections,
    rounds_of,
    write_corrections,
)
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE

GIVEN = np.array([0, 0, 1, 1, 2, 2, IGNORE, 1], np.uint8)
PROPOSED = np.array([1, 2, 0, 2, 0, 1, 1, 1], np.uint8)


@pytest.mark.parametrize(
    ("wanted", "refused", "expected"),
    [
        ([], [], [0, 0, 1, 1, 2, 2, IGNORE, 1]),
        ([1], [], [1, 0, 0, 2, 2, 1, IGNORE, 1]),
        ([2], [], [0, 2, 1, 2, 0, 1, IGNORE, 1]),
        ([1, 2], [], [1, 2, 0, 2, 0, 1, IGNORE, 1]),
        ([1], [2], [1, 0, 0, 1, 2, 2, IGNORE, 1]),
    ],
)
def test_a_change_needs_one_class_that_wants_it_and_none_that_refuses(wanted, refused, expected):
    assert apply_changes(GIVEN, PROPOSED, wanted, refused).tolist() == expected


def test_what_a_proposal_ignores_stays():
    assert apply_changes(np.array([1, 1], np.uint8), np.array([IGNORE, 0], np.uint8), [1], []).tolist() == [1, 0]


def test_extent():
    changed = np.zeros((9, 8, 7), dtype=bool)
    changed[2:5, 3, 0:7] = True
    assert box_text(changed) == "2-4 3-3 0-6"


def row(number, case, label):
    return Correction(number, case, label, "missing", "score", "0.1", "regions", "0.8", 5, 0, "1-2 3-4")


def test_the_table_comes_back(tmp_path):
    rows = [row(1, "a", "organ, left"), row(2, "NA", "vessel")]
    write_corrections(tmp_path / FILE, rows)
    assert read_corrections(tmp_path) == rows


def test_without_a_table(tmp_path):
    assert read_corrections(tmp_path) == []


@pytest.mark.parametrize("text", ["case,label\na,b\n", "round,case,label,kind,reason,score\nx,a,b,c,d,e\n"])
def test_a_damaged_table(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=r"corrections\.csv: cannot be read"):
        read_corrections(tmp_path)


def test_rounds():
    rows = [row(1, "a", "organ"), row(1, "a", "vessel"), row(2, "a", "organ"), row(2, "b", "organ")]
    assert rounds_of(rows, "a") == {"organ": 2, "vessel": 1}
    assert rounds_of(rows, "c") == {}
