from __future__ import annotations

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.noise import ClassSwap, CubeMorphology, MissingLabel, MixedNoise, corrupt_label, recipes_of

WIDER = {"RadiusMorphology": {"radius_min": 2.0, "radius_max": 2.0, "dilate_probability": 1.0}}
GONE = {"MissingLabel": {"probability": 1.0}}
BOX = np.zeros((16, 16, 8), np.uint8)
BOX[5:11, 5:11, 2:6] = 1


def noisy(recipe: MixedNoise, seed: int) -> np.ndarray:
    return corrupt_label(BOX, (1.0, 1.0, 1.0), recipe, np.random.default_rng(seed)).label


def test_each_label_goes_by_one_of_the_recipes():
    sizes = [int(noisy(MixedNoise(recipes=[WIDER, GONE], keep_objects=False), seed).sum()) for seed in range(60)]
    assert set(sizes) == {0, max(sizes)}
    assert max(sizes) > BOX.sum()
    assert 15 < sizes.count(0) < 45


def test_one_that_stands_twice_is_drawn_twice_as_often():
    recipe = MixedNoise(recipes=[GONE, WIDER, WIDER], keep_objects=False)
    assert 15 < [int(noisy(recipe, seed).sum()) for seed in range(90)].count(0) < 45


def test_objects_are_kept_if_asked_for():
    assert noisy(MixedNoise(recipes=[GONE]), 0).any()


def test_an_empty_label_stays_empty():
    empty = np.zeros_like(BOX)
    found = corrupt_label(empty, (1.0, 1.0, 1.0), MixedNoise(), np.random.default_rng(0))
    assert not found.label.any()
    assert found.decisions == {}


def test_checks_what_it_is_made_of():
    with pytest.raises(InputError, match="class"):
        MixedNoise(recipes=[{"ClassSwap": {}}]).check(2)


def test_tells_what_it_is_made_of():
    assert recipes_of(CubeMorphology, {"side_max": 5}) == (CubeMorphology,)
    made = recipes_of(MixedNoise, {"recipes": [GONE, {"ClassSwap": None}, GONE]})
    assert made == (MixedNoise, MissingLabel, ClassSwap)


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ([], "is empty"),
        ([{"RadiusMorpholgy": {}}], "no recipe 'RadiusMorpholgy'. Did you mean RadiusMorphology"),
        ([{"MissingLabel": {"shar": 1}}], "MissingLabel has no argument 'shar'. Did you mean share"),
        ([{"MissingLabel": {}, "ClassSwap": {}}], "not one recipe"),
        ([{"MissingLabel": {"share": 2}}], "no probability"),
    ],
)
def test_what_is_no_recipe_is_said(recipes, message):
    with pytest.raises(InputError, match=message):
        MixedNoise(recipes=recipes)
