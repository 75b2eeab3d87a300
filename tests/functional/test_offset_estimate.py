from __future__ import annotations

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.functional.distance import signed_distance
from segmend.functional.offset_estimate import estimate_offset, excess


def ball(radius: float, shift: float = 0.0, spacing=(1.0, 1.0, 1.0)) -> torch.Tensor:
    axes = [torch.arange(round(36 / step)) * step - 17.5 for step in spacing]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x - shift).square() + y.square() + z.square() < radius**2


def estimate(mask, probability, spacing=(1.0, 1.0, 1.0), **options):
    distance = torch.from_numpy(signed_distance(mask.numpy(), spacing))
    options = {"criterion": "overlap", "reach": 8.0} | options
    return estimate_offset(mask, distance, probability, spacing, **options)


def seen(radius: float, spacing=(1.0, 1.0, 1.0)) -> torch.Tensor:
    return 0.02 + 0.96 * ball(radius, spacing=spacing).float()


@pytest.mark.parametrize("criterion", ["overlap", "likelihood"])
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


def test_less_is_asked_of_a_shell_with_a_larger_beta():
    given = ball(8.0)
    probability = torch.where(ball(8.0), 0.6, torch.where(ball(11.0), 0.45, 0.0))
    assert estimate(given, probability, beta=1.0).offset > 2
    assert estimate(given, probability).offset < 0.5


def test_of_a_model_that_means_what_it_says_even_odds_are_asked():
    given, steps = ball(8.0), [(8.0, 0.98), (10.0, 0.55), (12.0, 0.45)]
    probability = torch.full((36, 36, 36), 0.01)
    for radius, value in reversed(steps):
        probability[ball(radius)] = value
    assert estimate(given, probability).offset == pytest.approx(2.0, abs=0.6)


def test_a_shift_to_one_side_shows_on_the_sides_and_in_the_error():
    found = estimate(ball(10.0, shift=3.0), seen(10.0))
    by_side = dict(zip(("+x", "+y", "+z", "-x", "-y", "-z"), found.by_side, strict=True))
    assert by_side["+x"] < -1.5
    assert by_side["-x"] > 1.5
    assert abs(by_side["+y"]) < 1
    assert found.error > 2 * estimate(ball(10.0), seen(10.0)).error


def test_what_is_not_counted_changes_nothing():
    counted, probability = torch.ones(36, 36, 36), seen(10.0)
    probability[18:] = 0.99  # nonsense on one half
    counted[18:] = 0
    spoilt, clean = (estimate(ball(10.0), probability, counted=weight) for weight in (None, counted))
    assert abs(clean.offset) < 0.6 < abs(spoilt.offset)


def test_no_further_than_its_reach():
    assert estimate(ball(4.0), seen(16.0), reach=2.0).offset == pytest.approx(2.0, abs=1.0)


def test_excess_by_hand():
    volume, mass, total = torch.tensor([4.0, 8.0]), torch.tensor([3.0, 4.0]), torch.tensor(5.0)
    # F / (1 + beta^2) is 3 / (4 + 5 / 4) = 0.571 and 4 / (8 + 5 / 4): even odds are less.
    assert_close(excess(volume, mass, total, beta=0.5), torch.tensor([3 - 2.0, 4 - 4.0]))
    # A third as bright: 1 / (4 + 5 / 12) = 12 / 53.
    assert_close(excess(volume, mass / 3, total / 3, beta=0.5), torch.tensor([1 - 48 / 53, 4 / 3 - 96 / 53]))
    assert excess(torch.zeros(1), torch.zeros(1), torch.tensor(0.0), beta=0.5).isfinite().all()


@drawn(st.integers(0, 10_000))
def test_of_faint_probabilities_the_excess_is_largest_where_expected_f_is(seed):
    random = torch.Generator().manual_seed(seed)
    p = 0.3 * torch.rand(12, generator=random, dtype=torch.float64)
    volume, mass = torch.arange(1, 13, dtype=torch.float64), p.cumsum(0)
    f = mass / (volume + 0.25 * p.sum())
    assert excess(volume, mass, p.sum(), beta=0.5).argmax() == f.argmax()
