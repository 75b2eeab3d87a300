from __future__ import annotations

import pytest
import torch

from segmend.core.masks import IGNORE
from segmend.functional.offsets.surfaces import assign_deepest, distance_to, shift_surfaces, surfaces_of

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
        assert [surface.kind for surface in found] == [(1, None), (2, None)]
        for surface in found:
            assert torch.equal(surface.mask, heart == surface.cls)
            assert torch.equal(surface.distance < 0, surface.mask)
            assert surface.counted.all()

    def test_or_one_for_each_class_that_it_borders_on(self, heart):
        found = {surface.kind: surface for surface in surfaces_of(heart, range(1, 3), ONES, by_neighbour=True)}
        assert set(found) == {(1, 0), (1, 2), (2, 1)}
        inner, outer = found[1, 2].counted, found[1, 0].counted
        assert not (inner & outer).any()
        assert (inner | outer).all()
        assert inner[12, 12]
        assert outer[0, 0]
        assert found[2, 1].counted[heart == 2].all()  # only the wall touches the chamber

    @pytest.mark.parametrize("by_neighbour", [False, True])
    def test_what_is_ignored_is_no_class_and_does_not_count(self, by_neighbour):
        label = disc(9.0)
        label[:5] = IGNORE
        (surface,) = surfaces_of(label, range(1, 3), ONES, by_neighbour=by_neighbour)
        assert not surface.mask[:5].any()
        assert torch.equal(surface.counted, label != IGNORE)

    def test_in_slices_they_have_no_distance_across(self):
        label = torch.stack([disc(0.0), disc(9.0), disc(0.0)], dim=-1)
        across, within = (
            next(surfaces_of(label, [1], (1.0, 1.0, 1.0), sliced=sliced)).distance[12, 12] for sliced in (False, True)
        )
        assert across.tolist() == [0.5, -0.5, 0.5]
        assert within[1] == pytest.approx(-8.5)
        assert (within[[0, 2]] > 1000).all()


class TestShift:
    def test_where_all_move_by_the_same_offset_the_border_between_them_stays(self, heart):
        new = shift_surfaces(heart, {(1, None): 2.0, (2, None): 2.0}, ONES)
        assert torch.equal(new == 2, heart == 2)
        assert torch.equal(new > 0, distance_to(heart > 0, ONES) < 2)

    def test_each_surface_moves_by_its_own_offset_and_others_stay(self, heart):
        new = shift_surfaces(heart, {(2, None): 2.0}, ONES)
        assert torch.equal(new > 0, heart > 0)
        assert (new == 2).sum() > (heart == 2).sum()

    def test_nothing_moves_by_nothing(self, heart):
        heart[:6] = IGNORE
        assert torch.equal(shift_surfaces(heart, {}, ONES), heart)

    def test_a_label_without_an_object_is_copied(self):
        empty = torch.zeros(25, 25, dtype=torch.uint8)
        new = shift_surfaces(empty, {(1, None): 2.0}, ONES)
        assert torch.equal(new, empty)
        assert new is not empty

    def test_the_two_sides_of_a_wall(self, heart):
        new = shift_surfaces(heart, {(1, 0): -1.0, (1, 2): 1.0, (2, 1): -1.0}, ONES, by_neighbour=True)
        assert (new > 0).sum() < (heart > 0).sum()
        assert (new == 2).sum() < (heart == 2).sum()

    def test_each_side_moves_by_its_own_offset(self):
        new = shift_surfaces(disc(6.0), {(1, None): (3.0, 0.0, -3.0, 0.0)}, ONES)  # sides +x, +y, -x, -y
        assert new[:, 12].nonzero().flatten().tolist() == list(range(10, 21))  # from 7 to 17
        assert torch.equal(new[12], disc(6.0)[12])

    def test_slices_are_shifted_one_by_one(self):
        label = torch.stack([disc(0.0), disc(6.0), disc(0.0)], dim=-1)
        new = shift_surfaces(label, {(1, None): 2.0}, (1.0, 1.0, 1.0), sliced=True)
        assert torch.equal(new[..., 1], shift_surfaces(disc(6.0), {(1, None): 2.0}, ONES))
        assert not new[..., [0, 2]].any()


def test_distances_are_in_mm():
    assert distance_to(disc(5.0) > 0, (3.0, 3.0))[12, 20] == pytest.approx(3 * distance_to(disc(5.0) > 0, ONES)[12, 20])


BOX = torch.zeros(9, 9, dtype=torch.bool)
BOX[3:6, 3:6] = True


def move(label: torch.Tensor, *offsets: float | torch.Tensor) -> torch.Tensor:
    """The label on a grid of 1 mm with its classes moved."""
    one = (1.0,) * label.ndim
    masks = [label == cls for cls in range(1, len(offsets) + 1)]
    distances = torch.stack(
        [distance_to(mask, one) if mask.any() else torch.full(label.shape, torch.inf) for mask in masks]
    )
    outline = distance_to((label > 0) & (label != IGNORE), one)
    return assign_deepest(distances, outline, torch.stack([torch.as_tensor(offset) for offset in offsets]), label)


class TestDeepest:
    def test_nothing_moves_by_nothing(self):
        label = BOX.to(torch.uint8)
        assert torch.equal(move(label, 0.0), label)

    def test_one_voxel_outward_and_inward(self):
        label = BOX.to(torch.uint8)
        assert move(label, 1.0).sum() == 9 + 4 * 3 + 4  # corners are 0.91 mm away
        assert move(label, -1.0).sum() == 1

    def test_classes_that_meet_divide_the_space(self):
        label = torch.tensor([[1, 1, 0, 0, 0, 0, 2, 2]], dtype=torch.uint8)
        assert move(label, 5.0, 5.0).tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]]
        assert move(label, 3.0, 1.0).tolist() == [[1, 1, 1, 1, 1, 2, 2, 2]]

    def test_a_wall_is_squeezed_from_both_sides(self):
        label = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 2]], dtype=torch.uint8)
        assert move(label, -1.0, 1.0).tolist() == [[0, 0, 1, 2, 2, 2, 2, 2]]

    def test_neighbours_that_shrink_leave_no_gap(self):
        label = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 0]], dtype=torch.uint8)
        assert move(label, -1.0, -1.0).tolist() == [[0, 0, 1, 1, 2, 2, 0, 0]]

    def test_what_is_ignored_stays_ignored_and_what_is_missing_missing(self):
        label = torch.tensor([[IGNORE, 1, 0]], dtype=torch.uint8)
        assert move(label, 2.0, 9.0).tolist() == [[IGNORE, 1, 1]]

    def test_the_offset_may_change_from_place_to_place(self):
        field = torch.zeros(9, 9)
        field[6:] = 1.0
        assert move(BOX.to(torch.uint8), field)[6].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0]
