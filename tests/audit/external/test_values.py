from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmend.audit.external.values import check_probabilities, with_background
from segmend.core.errors import InputError

NAMES = ("background", "liver", "kidney")
PATH = Path("a.npz")


@pytest.fixture
def maps():
    values = np.random.default_rng(0).dirichlet((1, 1, 1), (4, 5, 6))
    return np.moveaxis(values, -1, 0)


def test_half_precision_is_precise_enough(maps):
    predicted = check_probabilities(PATH, NAMES, enumerate(maps.astype(np.float16)))
    assert (predicted != maps.argmax(0)).mean() < 0.01


def test_classes_may_come_in_any_order(maps):
    np.testing.assert_array_equal(
        check_probabilities(PATH, NAMES, [(2, maps[2]), (0, maps[0]), (1, maps[1])]), maps.argmax(0)
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_zeros_beyond_the_crop_are_background(maps, dtype):
    maps = maps.astype(dtype)
    maps[:, :1] = 0
    assert (check_probabilities(PATH, NAMES, enumerate(maps))[:1] == 0).all()
    found = dict(with_background(enumerate(maps)))
    assert list(found) == [1, 2, 0]
    assert (found[0][:1] == 1).all()
    assert (found[1][:1] == 0).all()
    np.testing.assert_allclose(found[0][1:], maps[0, 1:], rtol=1e-6)
    np.testing.assert_array_equal(found[2], maps[2])


def test_a_probability_of_0_is_none_of_a_voxel_that_another_class_has(maps):
    maps[:, 0, 0, 0] = 0, 1, 0
    assert dict(with_background(enumerate(maps)))[0][0, 0, 0] == 0


def test_rounding_beyond_0_and_1_is_cut_off(maps):
    maps[:, 0, 0, 0] = -0.005, 1.005, 0
    maps = maps.astype(np.float16)
    check_probabilities(PATH, NAMES, enumerate(maps))
    found = dict(with_background(enumerate(maps)))
    assert [float(found[index][0, 0, 0]) for index in range(3)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: np.log(p), "logarithms"),
        (lambda p: np.log(p) + 3, "logits"),
        (lambda p: 100 * p, "values from .* as if scaled or not normalised"),
        (lambda p: np.rint(255 * p).astype(np.uint8), r"whole numbers \(uint8\), as if scaled. Divide them by 255"),
        (lambda p: np.where(p > 0.9, np.nan, p), "values from nan to nan in the class 'background'"),
        (lambda p: np.where(p > 0.9, np.nan, p).astype(np.float16), "values from nan to nan in the class 'background'"),
        (lambda p: np.where(p > 0.9, np.inf, p), "values from .* to inf"),
        (lambda p: 1 / (1 + np.exp(2 - 6 * p)), r"sum up to .* \(regions\)"),
        (lambda p: 0 * p, "0 everywhere"),
    ],
)
def test_what_they_seem_to_be_instead_is_named(maps, change, message):
    with pytest.raises(InputError, match=rf"a\.npz: holds no probabilities, but .*{message}"):
        check_probabilities(PATH, NAMES, enumerate(change(maps)))
