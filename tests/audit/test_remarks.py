from __future__ import annotations

from math import nan

import pytest
from audit_rows import made_up_row

from segmend.audit.remarks import remarks
from segmend.audit.scores import Usual

EXPERT = (nan, nan)
UNSEEN = (0.0, nan)


def rows(*undone, label="organ"):
    return [made_up_row(label=label, undo_mm=offset, undo_se_mm=error) for offset, error in undone]


def usual(best_dice):
    return Usual(slack=1.0, excess=0.0, spread=0.1, best_dice=best_dice, tolerance=1.0)


def test_where_most_are_surely_off_it_says_how_many_and_by_how_much():
    (said,) = remarks(rows((2.0, 0.5), (-3.0, 0.5), (4.0, 0.5), (0.9, 0.5), EXPERT), {}, "pixels")
    assert said.startswith("3 of 4 noisy labels seem to be drawn too wide or too tight, by 3.0 pixels as a rule.")


@pytest.mark.parametrize(
    "undone",
    [
        [],
        [EXPERT, EXPERT],
        [UNSEEN],
        [(2.0, 0.5), (0.0, 0.5)],
        [(2.0, 0.5), UNSEEN],
        [(0.9, 0.5), (-0.9, 0.5)],
    ],
)
def test_otherwise_it_says_nothing(undone):
    assert remarks(rows(*undone), {"organ": usual(0.9)}, "mm") == []


def test_classes_of_which_the_model_knows_little_are_told():
    found = [*rows((0.0, 0.2), label="organ"), *rows(UNSEEN, label="vessel"), *rows((0.0, 0.2), label="bone")]
    organ, vessel = remarks(found, {"organ": usual(0.41), "vessel": usual(0.2), "bone": usual(0.8)}, "mm")
    assert organ.startswith("Of 'organ' the model knows little: it expects a Dice of 0.41 of its own outlines")
    assert "takes less, and is told" in organ
    assert vessel.startswith("Of 'vessel'")
    assert "takes less, and is told" not in vessel
