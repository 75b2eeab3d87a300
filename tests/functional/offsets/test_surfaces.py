from __future__ import annotations

import pytest
import torch

from segmend.core.masks import IGNORE
from segmend.functional.offsets.surfaces import distance_to, surfaces_of, with_moved_surfaces

ONES = (1.0, 1.0)


def disc(radius: float) -> torch.Tensor:
    x, y = torch.meshgrid(torch.arange(25), torch.arange(25), indexing="ij")
    return ((x - 12) ** 2 + (y - 12) ** 2 < radius**2).to(torch.uint8)


@pytest.fixture
def heart() -> torch.Tensor:
    """A wall, 1, around a chamber, 2."""
    return disc(9.0) + disc(5.0)


class TestSurfaces:
    def test_each_class_that_is_drawn_has_one(self, heart):
        found = list(surfaces_of(heart, range(1, 5), ONES))
        assert [(surface.cls, surface.neighbour) for surface in found] == [(1, None), (2, None)]
        for surface in found:
            assert torch.equal(surface.mask, heart == surface.cls)
            assert torch.equal(surface.distance < 0, surface.mask)
            assert surface.near.all()

    def test_or_one_for_each_class_that_it_borders_on(self, heart):
        found = {(s.cls, s.neighbour): s for s in surfaces_of(heart, range(1, 3), ONES, by_neighbour=True)}
        assert set(found) == {(1, 0), (1, 2), (2, 1)}
        inner, outer = found[1, 2].near, found[1, 0].near
        assert not (inner & outer).any()
        assert (inner | outer).all()
        assert inner[12, 12]
        assert outer[0, 0]
        assert found[2, 1].near[heart == 2].all()  # only the wall touches the chamber

    def test_what_is_ignored_is_no_class(self):
        label = disc(9.0)
        label[:5] = IGNORE
        (surface,) = surfaces_of(label, range(1, 3), ONES)
        assert not surface.mask[:5].any()


class TestMoving:
    def test_where_all_move_alike_the_border_between_them_stays(self, heart):
        new = with_moved_surfaces(heart, lambda _: torch.tensor(2.0), 2, ONES)
        assert torch.equal(new == 2, heart == 2)
        assert torch.equal(new > 0, distance_to(heart > 0, ONES) < 2)

    def test_each_surface_moves_by_its_own_offset(self, heart):
        new = with_moved_surfaces(heart, lambda s: torch.tensor({1: 0.0, 2: 2.0}[s.cls]), 2, ONES)
        assert torch.equal(new > 0, heart > 0)
        assert (new == 2).sum() > (heart == 2).sum()

    def test_nothing_moves_by_nothing(self, heart):
        heart[:6] = IGNORE
        assert torch.equal(with_moved_surfaces(heart, lambda _: torch.tensor(0.0), 2, ONES), heart)

    def test_the_two_sides_of_a_wall(self, heart):
        offsets = {(1, 0): -1.0, (1, 2): 1.0, (2, 1): -1.0}
        new = with_moved_surfaces(
            heart, lambda s: torch.tensor(offsets[s.cls, s.neighbour]), 2, ONES, by_neighbour=True
        )
        assert (new > 0).sum() < (heart > 0).sum()
        assert (new == 2).sum() < (heart == 2).sum()


def test_distances_are_in_mm():
    assert distance_to(disc(5.0) > 0, (3.0, 3.0))[12, 20] == pytest.approx(3 * distance_to(disc(5.0) > 0, ONES)[12, 20])
