from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.cohort import Portrait, check_cohort, twins
from segmend.data.image import Grid

NAMES = ["background", "left kidney", "right kidney"]
GRID = Grid((40, 20, 10), np.diag([-1.0, 1.0, 2.0, 1.0]))  # x runs to the patient's left


def draw(seed, first=8, second=30):
    """Two kidneys; at these places along x."""
    rng = np.random.default_rng(seed)
    last = 10 + rng.integers(0, 10)
    label = np.zeros(GRID.shape, np.uint8)
    for index, place in ((1, first), (2, second)):
        start = place + rng.integers(-1, 2)
        label[start - 3 : start + 3, 5:last, 2 : rng.integers(5, 10)] = index
    return rng.normal(size=(1, *GRID.shape)).astype(np.float32), label


def portraits(*drawn):
    return {f"c{number}": Portrait.of(image, label, GRID) for number, (image, label) in enumerate(drawn)}


def found(*drawn):
    return {(f.case, f.label, f.check) for f in check_cohort(NAMES, portraits(*drawn))}


GOOD = [draw(seed) for seed in range(10)]


def test_portrait_by_hand():
    label = np.zeros(GRID.shape, np.uint8)
    label[0:4, 0:2, 0:5] = 1
    portrait = Portrait.of(np.zeros((1, *GRID.shape), np.float32), label, GRID)
    assert portrait.volumes == {1: 80.0}
    assert portrait.sideways == {1: pytest.approx((19.5 - 1.5) / 40)}  # to the patient's right


def test_nothing_to_say_about_good_cases():
    assert found(*GOOD) == set()


def test_the_same_image_and_the_same_label():
    image, label = GOOD[0]
    assert found(*GOOD, (image, GOOD[3][1] * 0 + draw(99)[1])) == {("c10", "", "same_image")}
    assert found(*GOOD, (draw(98)[0], label)) == {("c10", "", "same_label")}
    assert twins(portraits(*GOOD, (image, draw(97)[1]), (image, draw(96)[1]))) == {"c10": "c0", "c11": "c0"}


def test_empty_labels_are_not_the_same():
    empty = np.zeros(GRID.shape, np.uint8)
    assert found(*GOOD, (draw(1001)[0], empty), (draw(1002)[0], empty)) == set()


def test_a_class_that_all_others_have():
    image, label = draw(50)
    label[label == 2] = 0
    assert found(*GOOD, (image, label)) == {("c10", "right kidney", "absent")}
    half = [(image, np.where(label == 2, 0, label)) for image, label in (draw(seed) for seed in range(60, 70))]
    assert "absent" not in {check for _, _, check in found(*GOOD, *half)}


def test_a_tiny_object():
    image, label = draw(50)
    label[label == 2] = 0
    label[30, 5, 2:4] = 2
    assert found(*GOOD, (image, label)) == {("c10", "right kidney", "tiny")}


def test_left_and_right_exchanged():
    image, label = draw(50, first=31, second=9)
    assert found(*GOOD, (image, label)) == {(case, name, "other_side") for case in ("c10",) for name in NAMES[1:]}


def test_no_side_is_wrong_for_what_lies_in_the_middle():
    assert found(*[draw(seed, first=15, second=25) for seed in range(8)], draw(50, first=17, second=24)) == set()


def test_a_few_cases_tell_nothing():
    image, label = draw(50, first=31, second=9)
    assert found(*GOOD[:3], (image, np.where(label == 2, 0, label))) == set()
