from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmend.audit.external.values import check_probabilities, to_probability
from segmend.core.errors import InputError

NAMES = ("background", "liver", "kidney")
PATH = Path("a.npz")


@pytest.fixture
def maps():
    values = np.random.default_rng(0).dirichlet((1, 1, 1), (4, 5, 6))
    return np.moveaxis(values, -1, 0)


def test_half_precision_is_precise_enough(maps):
    seen = check_probabilities(PATH, NAMES, maps.astype(np.float16))
    assert seen.outside is None
    assert (seen.predicted != maps.argmax(0)).mean() < 0.01


def test_zeros_beyond_the_crop_are_background(maps):
    maps[:, :1] = 0
    seen = check_probabilities(PATH, NAMES, maps)
    assert seen.outside is not None
    assert seen.outside[:1].all()
    assert not seen.outside[1:].any()
    assert (to_probability(0, maps[0], seen.outside)[:1] == 1).all()
    assert (to_probability(1, maps[1], seen.outside)[:1] == 0).all()
    np.testing.assert_allclose(to_probability(0, maps[0], seen.outside)[1:], maps[0, 1:], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: np.log(p), "logarithms"),
        (lambda p: np.log(p) + 3, "logits"),
        (lambda p: 100 * p, "values from .* as if scaled or not normalised"),
        (lambda p: np.rint(255 * p).astype(np.uint8), r"whole numbers \(uint8\), as if scaled. Divide them by 255"),
        (lambda p: np.where(p > 0.9, np.nan, p), "values from nan to nan in the class 'background'"),
        (lambda p: np.where(p > 0.9, np.inf, p), "values from .* to inf"),
        (lambda p: 1 / (1 + np.exp(2 - 6 * p)), r"sum up to .* \(regions\)"),
        (lambda p: 0 * p, "0 everywhere"),
    ],
)
def test_what_they_seem_to_be_instead_is_named(maps, change, message):
    with pytest.raises(InputError, match=rf"a\.npz: holds no probabilities, but .*{message}"):
        check_probabilities(PATH, NAMES, change(maps))
