from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from segmend.noise import Decision, SliceNoise, corrupt_label

SPACING = (0.8, 0.7, 5.0)
SIDE, RADIUS = 61, 12


def disc(radius: float) -> NDArray[np.bool_]:
    x, y = np.indices((SIDE, SIDE)) - SIDE // 2
    return x**2 + y**2 <= radius**2


def cylinder(slices: int) -> NDArray[np.uint8]:
    return np.repeat(disc(RADIUS)[..., None], slices, axis=2).astype(np.uint8)


def noisy(label: NDArray[np.uint8], recipe: SliceNoise, seed: int = 0) -> NDArray[np.uint8]:
    return corrupt_label(label, SPACING[: label.ndim], recipe, np.random.default_rng(seed)).label


def fates(label: NDArray[np.uint8], true: NDArray[np.uint8]) -> Counter[str]:
    """What became of each slice."""
    names = []
    for index in range(label.shape[2]):
        now, before = label[..., index], true[..., index]
        if (now == before).all():
            names.append("kept")
        elif not now.any():
            names.append("missing")
        else:
            names.append("larger" if (now >= before).all() else "smaller" if (now <= before).all() else "other")
    return Counter(names)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_as_many_slices_go_wrong_as_was_asked_half_of_them_missing(share):
    label = cylinder(2000)
    count = fates(noisy(label, SliceNoise(share=share, radius=5)), label)
    assert set(count) == {"kept", "missing", "larger", "smaller"}
    assert (2000 - count["kept"]) / 2000 == pytest.approx(share, abs=0.04)
    assert count["missing"] / 2000 == pytest.approx(share / 2, abs=0.04)
    assert count["larger"] / 2000 == pytest.approx(share / 4, abs=0.03)


def test_outlines_move_by_a_disc_of_whole_pixels_whatever_the_spacing():
    label = cylinder(400)
    changed = noisy(label, SliceNoise(share=1.0, radius=5, missing=0.0))
    possible = {
        change: (distance_to(disc(RADIUS)) <= change) if change > 0 else (distance_to(~disc(RADIUS)) > -change)
        for change in (*range(-8, -1), *range(2, 9))
    }
    found = Counter(
        change
        for index in range(400)
        for change, expected in possible.items()
        if np.array_equal(changed[..., index], expected)
    )
    assert set(found) == set(possible)
    assert sum(found.values()) == 400
    assert all(10 < count < 50 for count in found.values())  # 28.6 of each


def distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of every pixel to the nearest one in the mask, one by one."""
    pixels = np.moveaxis(np.indices(mask.shape), 0, -1)
    nearest = np.full(mask.shape, np.inf)
    for pixel in np.argwhere(mask):
        nearest = np.minimum(nearest, np.linalg.norm(pixels - pixel, axis=-1))
    return nearest


def test_all_objects_of_a_slice_are_left_out_together_and_the_others_are_whole():
    label = cylinder(50)
    label[disc(5)] = 2
    changed = noisy(label, SliceNoise(share=0.5, missing=1.0))
    alive = [changed[..., index].any() for index in range(50)]
    assert 10 < sum(alive) < 40
    np.testing.assert_array_equal(changed, label * np.array(alive, np.uint8))


def test_where_two_objects_grow_the_later_class_has_the_voxel():
    label = cylinder(1)
    label[disc(5)] = 2
    grown = noisy(label, SliceNoise(share=1.0, radius=3, jitter=0, missing=0.0, dilate_probability=1.0))
    core, both = distance_to(disc(5)) <= 3, distance_to(label[..., 0] == 1) <= 3
    np.testing.assert_array_equal(grown[..., 0], np.where(core, 2, both))


def test_an_image_is_one_slice():
    label = disc(RADIUS).astype(np.uint8)
    recipe = SliceNoise(share=0.6, missing=1.0)
    gone = sum(not noisy(label, recipe, seed).any() for seed in range(200))
    assert 0.5 < gone / 200 < 0.7


def test_more_strength_corrupts_more_slices_and_the_same_ones_first():
    label, recipe = cylinder(100), SliceNoise(share=0.5)
    wrong = []
    for strength in (0.5, 1.0, 2.0):
        decision = Decision("slices", {"seed": 3}, strength)
        wrong.append((recipe.apply(label, SPACING, {1: decision}) != label).any(axis=(0, 1)))
    assert (wrong[0] <= wrong[1]).all()
    assert wrong[0].sum() < wrong[1].sum() < 100
    assert wrong[2].all()
