from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.estimate import estimate_offset, separation


def ball(radius: float, shift: float = 0.0, spacing=(1.0, 1.0, 1.0)) -> torch.Tensor:
    axes = [torch.arange(round(36 / step)) * step - 17.5 for step in spacing]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x - shift).square() + y.square() + z.square() < radius**2


def estimate(mask, probability, spacing=(1.0, 1.0, 1.0), **options):
    distance = torch.from_numpy(signed_distance(mask.numpy(), spacing))
    options = {"criterion": "separation", "reach": 8.0} | options
    return estimate_offset(mask, distance, probability, spacing, **options)


def seen(radius: float, spacing=(1.0, 1.0, 1.0)) -> torch.Tensor:
    return 0.02 + 0.96 * ball(radius, spacing=spacing).float()


@pytest.mark.parametrize("criterion", ["separation", "overlap", "likelihood"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0)])
@pytest.mark.parametrize("radius", [7.0, 10.0, 12.0])
def test_finds_where_a_model_sees_the_surface(criterion, spacing, radius):
    found = estimate(ball(10.0, spacing=spacing), seen(radius, spacing), spacing, criterion=criterion)
    assert found.offset == pytest.approx(radius - 10, abs=0.6)
    assert found.error < 0.75
    assert found.gain >= 0
    assert (found.gain > 0.01) == (radius != 10)


def test_a_model_that_sees_faintly_still_tells_where_the_surface_is():
    """Nowhere even odds: the likelihood would shrink the object to nothing."""
    given, faint = ball(8.0), 0.02 + 0.28 * ball(10.0).float()
    assert estimate(given, faint).offset == pytest.approx(2.0, abs=0.75)
    assert estimate(given, faint, criterion="likelihood", doubt=0.02).offset < -5


def test_a_model_that_has_learned_nothing_shows_no_contrast():
    """All shells are as good as each other to it, so that the largest would win."""
    random = torch.Generator().manual_seed(0)
    blind = 0.3 + 0.05 * torch.rand(36, 36, 36, generator=random)
    assert estimate(ball(8.0), blind).contrast == pytest.approx(1.0, abs=0.01)
    assert estimate(ball(8.0), blind, reach=40.0).contrast == pytest.approx(1.0, abs=0.01)  # nothing lies beyond
    assert estimate(ball(8.0), seen(10.0)).contrast > 10


@drawn(st.floats(0.05, 1.0), st.floats(0.0, 0.5), st.floats(0.0, 4.0))
def test_neither_the_level_nor_the_contrast_of_a_map_moves_its_surface(scale, floor, blur):
    sharp = torch.from_numpy(gaussian_filter(seen(10.0).numpy(), blur))
    assert estimate(ball(8.0), floor + scale * sharp).offset == estimate(ball(8.0), sharp).offset


def test_an_outline_turned_about_its_middle_is_neither_wide_nor_tight():
    x, y, z = torch.meshgrid(*[torch.arange(36) - 17.5] * 3, indexing="ij")
    upright, turned = ((a / 13).square() + (b / 7).square() + (z / 10).square() < 1 for a, b in ((x, y), (y, x)))
    faint = torch.from_numpy(gaussian_filter(0.1 + 0.25 * upright.float().numpy(), 2.0))
    assert abs(estimate(turned, faint).offset) < 1
    # The best expected Dice of a blurred map takes in whatever it can get.
    assert estimate(turned, faint, criterion="overlap").offset > 3


def test_a_shift_to_one_side_shows_on_the_sides_and_in_the_error():
    found = estimate(ball(10.0, shift=3.0), seen(10.0))
    by_side = dict(zip(("+x", "+y", "+z", "-x", "-y", "-z"), found.by_side, strict=True))
    assert by_side["+x"] < -1.5
    assert by_side["-x"] > 1.5
    assert abs(by_side["+y"]) < 1
    assert found.error > 2 * estimate(ball(10.0), seen(10.0)).error


def test_what_is_not_counted_changes_nothing():
    counted, probability = torch.ones(36, 36, 36), seen(10.0)
    probability[18:] = seen(13.0)[18:]  # nonsense on one half
    counted[18:] = 0
    spoilt, clean = (estimate(ball(10.0), probability, counted=weight) for weight in (None, counted))
    assert abs(clean.offset) < 0.6 < abs(spoilt.offset)


@pytest.mark.parametrize("probability", [torch.full((36, 36, 36), 0.3), 1 - seen(10.0)])
def test_a_map_that_is_flat_or_darker_within_shows_no_surface(probability):
    found = estimate(ball(10.0), probability)
    assert (found.offset, found.error, found.gain) == (0.0, math.inf, 0.0)
    assert found.by_side == (0.0,) * 6


def test_a_side_without_a_surface_takes_that_of_the_others():
    half = 0.1 + 0.5 * ball(12.0).float()
    half[:15] = 0.6  # all of one side is bright
    by_side = dict(zip(("+x", "+y", "+z", "-x", "-y", "-z"), estimate(ball(10.0), half).by_side, strict=True))
    assert by_side["+x"] == pytest.approx(2.0, abs=0.6)
    assert by_side["-x"] > 1


def test_what_lies_beyond_its_reach_is_not_looked_at():
    ringed = seen(12.0).maximum(0.99 * (~ball(15.0)).float())  # bright again, further out
    assert estimate(ball(11.0), ringed, reach=3.0).offset == pytest.approx(1.0, abs=0.6)
    assert estimate(ball(4.0), seen(16.0), reach=2.0).error == math.inf  # within it, all is the same


def test_separation_by_hand():
    # Of (9, 7 | 1, 3) the halves have means 8 and 2 around 5: 4 * 9. One voxel has 9, the others 11 / 3: 16 + 16 / 3.
    volume, mass = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 9.0, 16.0, 17.0, 20.0])
    assert_close(separation(volume, mass), torch.tensor([0.0, 16 + 16 / 3, 36.0, 4 / 3 + 4, 0.0]))
    assert separation(volume, -mass)[2] == -36  # darker within
    assert separation(torch.zeros(3), torch.zeros(3)).isfinite().all()
