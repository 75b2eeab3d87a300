from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from segmend.audit.whole_objects import ObjectChanges


def line(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in text]])


@pytest.mark.parametrize(
    ("before", "after", "erased", "created"),
    [
        ("####......", "####......", 0, 0),
        ("####......", "######....", 0, 0),
        ("####......", "..........", 1, 0),
        ("####..####", "####......", 1, 0),
        ("..........", "..##..#...", 0, 2),
        ("####......", "####...##.", 0, 1),
        ("####......", "......####", 1, 1),
        ("#####.....", "#.........", 1, 0),  # 80 % of it
        ("#####.....", "##........", 0, 0),
        ("####..####", "##########", 0, 0),  # joined
        ("##########", "####..####", 0, 0),  # split
    ],
)
def test_objects_are_erased_and_created(before, after, erased, created):
    assert ObjectChanges.of(line(before), line(after)) == ObjectChanges(erased, created)


def test_small_components_are_no_objects():
    before = np.zeros((20, 20), bool)
    before[:11] = True  # 220 voxels
    before[15, 5:7] = True  # fewer than 1 % of all
    after = before.copy()
    after[15] = False
    after[18, 0] = True
    assert not ObjectChanges.of(before, after)


def test_a_class_that_vanishes_is_an_object_whatever_its_components_are():
    grains = np.zeros((40, 40), bool)
    grains[::2, ::2] = True  # 400 components of 0.25 % each
    nothing = np.zeros_like(grains)
    assert ObjectChanges.of(grains, nothing) == ObjectChanges(1, 0)
    assert ObjectChanges.of(nothing, grains) == ObjectChanges(0, 1)


@given(arrays(bool, (5, 6)), arrays(bool, (5, 6)))
def test_the_reverse_change_creates_what_was_lost_entirely(before, after):
    there, back = ObjectChanges.of(before, after), ObjectChanges.of(after, before)
    assert there.created <= back.erased  # 'erased' allows a fifth to be left
    assert not ObjectChanges.of(before, before)
    assert bool(ObjectChanges.of(before, np.zeros_like(before))) == before.any()
