from __future__ import annotations

import numpy as np
import pytest

from segmend.core.masks import IGNORE
from segmend.fusion import disagreement, fused_regions, majority, staple, staple_label, votes

ANN, BEN, CAT = (
    np.array(row, np.uint8)[None]
    for row in ([0, 1, 1, 2, IGNORE, IGNORE], [0, 1, 2, 0, 1, IGNORE], [1, 1, 0, 0, 2, IGNORE])
)
ALL = [ANN, BEN, CAT]


def test_votes_by_hand():
    np.testing.assert_allclose(votes(ALL, 1)[0], [1 / 3, 1, 1 / 3, 0, 1 / 2, 0])
    np.testing.assert_allclose(sum(votes(ALL, index) for index in range(3))[0], [1, 1, 1, 1, 1, 0])


def test_majority_by_hand():
    """Of classes with equally many votes the first wins."""
    assert majority(ALL, 3)[0].tolist() == [0, 1, 0, 0, 1, IGNORE]
    assert majority(ALL, 3).dtype == np.uint8


def test_disagreement_by_hand():
    np.testing.assert_allclose(disagreement(ALL, majority(ALL, 3))[0], [1 / 3, 0, 2 / 3, 1 / 3, 1 / 2, 0])


@pytest.fixture
def raters(ball):
    """Two good raters and one who draws half of the object and a false one."""
    truth = ball((50, 50), (25, 25), 12)
    good = [ball((50, 50), (25, 24), 12), ball((50, 50), (25, 26), 12)]
    bad = truth & (np.arange(50) < 25)
    bad[5:10, 5:15] = True
    return truth, [*good, bad]


def test_staple_tells_good_raters_from_bad_ones(raters):
    truth, masks = raters
    estimate = staple(masks)
    assert min(estimate.sensitivity[:2]) > 0.9 > 0.6 > estimate.sensitivity[2]
    assert min(estimate.specificity[:2]) > estimate.specificity[2]
    found = estimate.probability > 0.5
    assert (found & truth).sum() / truth.sum() > 0.93
    assert not found[5:10, 5:15].any()


def test_staple_does_not_depend_on_how_much_air_there_is(raters):
    _, masks = raters
    padded = staple([np.pad(mask, 40) for mask in masks])
    plain = staple([np.pad(mask, 6) for mask in masks])
    np.testing.assert_allclose(padded.sensitivity, plain.sensitivity, atol=1e-6)
    np.testing.assert_allclose(padded.probability[34:-34, 34:-34], plain.probability, atol=1e-5)


def test_staple_of_nothing():
    estimate = staple([np.zeros((5, 5), dtype=bool)] * 3)
    assert not estimate.probability.any()
    assert np.isnan(estimate.sensitivity).all()


def test_staple_of_several_classes(raters):
    truth, masks = raters
    drawings = [np.where(mask, 2, 0).astype(np.uint8) for mask in masks]
    for drawing in drawings:
        drawing[40:48, 30:40] = 1
        drawing[:, :2] = IGNORE
    fused = staple_label(drawings, 3)
    assert (fused[40:48, 30:40] == 1).all()
    assert ((fused == 2) & truth).sum() / truth.sum() > 0.93
    assert (fused == IGNORE).sum() == 100
    assert set(np.unique(fused)) == {0, 1, 2, IGNORE}


@pytest.fixture
def ball():
    def draw(shape, centre, radius):
        index = np.moveaxis(np.indices(shape), 0, -1)
        return ((index - np.array(centre)) ** 2).sum(-1) <= radius**2

    return draw


@pytest.mark.parametrize("rule", [majority, staple_label])
def test_raters_who_disagree_on_the_core_agree_on_the_whole(rule):
    """Each class has at most one of three votes, but two raters or more see the whole everywhere inside."""
    drawings = [np.zeros((8, 8, 8), np.uint8) for _ in range(3)]
    for drawing in drawings:
        drawing[2:6, 2:6, 2:6] = 1
    drawings[0][3:5, 3:5, 3:5] = 2
    drawings[1][2:6, 2:6, 2] = 0
    regions = {"whole": (1, 2), "core": (2,)}
    fused = fused_regions(drawings, 3, regions, rule)
    assert (fused[2:6, 2:6, 2:6] > 0).all()
    assert np.count_nonzero(fused) == 64
    assert not (fused == 2).any() or rule is staple_label


def test_what_no_rater_annotated_stays_open_in_regions():
    drawings = [np.array([[1, 2, 255]], np.uint8), np.array([[2, 2, 255]], np.uint8)]
    fused = fused_regions(drawings, 3, {"whole": (1, 2), "core": (2,)}, majority)
    assert fused.tolist() == [[1, 2, 255]]
